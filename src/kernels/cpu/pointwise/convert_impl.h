// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Conversions of a block between types. Included by sources built once per tier.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/cpu/int8/vector.h"
#include "kernels/cpu/pointwise/block.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

// Rounds half to even; NaN stays NaN.
HONE_INLINE uint16_t bf16_bits(float v) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, v);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
}
HONE_INLINE float from_bf16(uint16_t bits) { return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16); }

// e4m3: 4 bits of exponent, whose bias is 7, and 3 of fraction; all bits set is NaN. Beyond 448 numbers become that.
HONE_INLINE uint8_t e4m3_bits(float v) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, v), magnitude = bits & 0x7fffffff;
  const uint32_t normal = ((magnitude + 0x7ffff + ((magnitude >> 20) & 1)) >> 20) - (120u << 3);
  // Below 2^-6 there are steps of 2^-9, which is what the last bit of this sum stands for.
  const float steps = __builtin_bit_cast(float, magnitude) + 24576.f;
  const uint32_t small = __builtin_bit_cast(uint32_t, steps) - 0x46c00000;
  const uint32_t finite = magnitude < 0x3c800000 ? small : normal > 0x7e ? 0x7e : normal;
  return static_cast<uint8_t>(((bits >> 24) & 0x80) | (magnitude > 0x7f800000 ? 0x7f : finite));
}
HONE_INLINE float from_e4m3(uint8_t code) {
  const uint32_t magnitude = code & 0x7f, sign = static_cast<uint32_t>(code & 0x80) << 24;
  const float normal = __builtin_bit_cast(float, (magnitude << 20) + (120u << 23));
  const float small = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-9f;
  const float finite = magnitude < 8 ? small : normal;
  const uint32_t bits = magnitude == 0x7f ? 0x7fc00000 : __builtin_bit_cast(uint32_t, finite);
  return __builtin_bit_cast(float, bits | sign);
}

#if defined(__F16C__)
HONE_INLINE float from_f16(uint16_t bits) { return _cvtsh_ss(bits); }
HONE_INLINE uint16_t f16_bits(float v) { return _cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT); }
#else
HONE_INLINE float from_f16(uint16_t bits) { return to_float(f16{bits}); }
HONE_INLINE uint16_t f16_bits(float v) { return to_f16(v).bits; }
#endif

// As the reference: NaN is 0, the rest saturates at 64 bits (narrower types then wrap).
HONE_INLINE int64_t whole(float v) {
  if (v != v) return 0;
  if (v >= 9223372036854775808.f) return INT64_MAX;
  if (v <= -9223372036854775808.f) return INT64_MIN;
  return static_cast<int64_t>(v);
}

template <class To, class From, class F>
HONE_INLINE void each(const BlockArgs& args, F f) {
  const From* a = static_cast<const From*>(args.in[0]);
  To* out = static_cast<To*>(args.out);
  const int64_t n = args.n;  // which a store of bytes could change, for all the compiler knows
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = f(a[i]);
}

template <class To, class From>
void convert_block(const BlockArgs& args) {
  each<To, From>(args, [](From v) { return static_cast<To>(v); });
}
template <class From>
void to_boolean(const BlockArgs& args) {
  each<uint8_t, From>(args, [](From v) { return static_cast<uint8_t>(v != 0 && v == v); });
}

static void widen_f16(const BlockArgs& args) {
  int64_t i = 0;
#if defined(__F16C__)
  const auto* a = static_cast<const uint16_t*>(args.in[0]);
  float* out = static_cast<float*>(args.out);
  for (; i + 8 <= args.n; i += 8)
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i))));
#endif
  const BlockArgs rest{{static_cast<const uint16_t*>(args.in[0]) + i}, static_cast<float*>(args.out) + i, args.n - i};
  each<float, uint16_t>(rest, from_f16);
}
static void narrow_f16(const BlockArgs& args) {
  int64_t i = 0;
#if defined(__F16C__)
  const float* a = static_cast<const float*>(args.in[0]);
  auto* out = static_cast<uint16_t*>(args.out);
  for (; i + 8 <= args.n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(a + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  const BlockArgs rest{{static_cast<const float*>(args.in[0]) + i}, static_cast<uint16_t*>(args.out) + i, args.n - i};
  each<uint16_t, float>(rest, f16_bits);
}
static void widen_bf16(const BlockArgs& args) { each<float, uint16_t>(args, from_bf16); }
static void narrow_bf16(const BlockArgs& args) { each<uint16_t, float>(args, bf16_bits); }
static void widen_e4m3(const BlockArgs& args) { each<float, uint8_t>(args, from_e4m3); }
static void narrow_e4m3(const BlockArgs& args) { each<uint8_t, float>(args, e4m3_bits); }
// The low 32 bits of whole(v), which are all that narrower types take.
static void float_to_low_bits(const BlockArgs& args) {
  const float* a = static_cast<const float*>(args.in[0]);
  int beyond = 0;
  for (int64_t i = 0; i < args.n; ++i) beyond |= __builtin_fabsf(a[i]) < 2147483648.f ? 0 : 1;
  if (beyond == 0) each<int32_t, float>(args, [](float v) { return static_cast<int32_t>(v); });
  else each<int32_t, float>(args, [](float v) { return static_cast<int32_t>(whole(v)); });
}
static void float_to_whole(const BlockArgs& args) { each<int64_t, float>(args, whole); }

template <class To>
BlockFn from_integer(DType from) {
  switch (from) {
    case DType::i8: return convert_block<To, int8_t>;
    case DType::u8:
    case DType::boolean: return convert_block<To, uint8_t>;
    case DType::i16: return convert_block<To, int16_t>;
    case DType::u16: return convert_block<To, uint16_t>;
    case DType::i32: return convert_block<To, int32_t>;
    case DType::u32: return convert_block<To, uint32_t>;
    case DType::i64: return convert_block<To, int64_t>;
    default: return nullptr;
  }
}

static BlockFn find_boolean(DType from) {
  switch (from) {
    case DType::f32: return to_boolean<float>;
    case DType::i32: return to_boolean<int32_t>;
    case DType::i64: return to_boolean<int64_t>;
    default: return nullptr;
  }
}

static BlockFn find_convert(DType from, DType to) {
  switch (to) {
    case DType::f32:
      return from == DType::f16        ? widen_f16
             : from == DType::bf16     ? widen_bf16
             : from == DType::f8e4m3fn ? widen_e4m3
                                       : from_integer<float>(from);
    case DType::f16: return from == DType::f32 ? narrow_f16 : nullptr;
    case DType::bf16: return from == DType::f32 ? narrow_bf16 : nullptr;
    case DType::f8e4m3fn: return from == DType::f32 ? narrow_e4m3 : nullptr;
    case DType::boolean: return find_boolean(from);
    case DType::i64: return from == DType::f32 ? float_to_whole : from_integer<int64_t>(from);
    case DType::i32: return from == DType::f32 ? float_to_low_bits : from_integer<int32_t>(from);
    case DType::i8: return from_integer<int8_t>(from);
    case DType::u8: return from_integer<uint8_t>(from);
    case DType::i16: return from_integer<int16_t>(from);
    case DType::u16: return from_integer<uint16_t>(from);
    case DType::u32: return from_integer<uint32_t>(from);
    default: return nullptr;
  }
}

HONE_INLINE void store_bytes(int8_t* p, VI v) { store_i8(p, v); }
HONE_INLINE void store_bytes(uint8_t* p, VI v) { store_u8(p, v); }

// The bounds are whole, so that clipping first is the same as rounding first.
template <class To>
void quantize_block(const BlockArgs& args) {
  const auto* a = static_cast<const float*>(args.in[0]);
  const V low = set1(*static_cast<const float*>(args.in[1])), high = set1(*static_cast<const float*>(args.in[2]));
  auto* out = static_cast<To*>(args.out);
  const auto quantized = [&](V v) { return to_int(min(max(as_float(as_int(v) & (v == v)), low), high)); };
  int64_t i = 0;
  for (; i + kLanes <= args.n; i += kLanes) store_bytes(out + i, quantized(load(a + i)));
  if (i == args.n) return;
  const VI rest = quantized(load_n(a + i, static_cast<int>(args.n - i)));
  for (int j = 0; i < args.n; ++i, ++j) out[i] = static_cast<To>(rest[j]);
}
static BlockFn find_quantize(DType to) {
  return to == DType::i8 ? quantize_block<int8_t> : to == DType::u8 ? quantize_block<uint8_t> : nullptr;
}

template <class T>
void splat_block(const BlockArgs& args) {
  const T v = *static_cast<const T*>(args.in[0]);
  T* out = static_cast<T*>(args.out);
  std::fill_n(out, args.n, v);
}
static BlockFn find_splat(DType type) {
  switch (type) {
    case DType::f32: return splat_block<float>;
    case DType::i32: return splat_block<int32_t>;
    case DType::i64: return splat_block<int64_t>;
    default: return splat_block<uint8_t>;
  }
}

}  // namespace hone::cpu::HONE_TIER_NS
