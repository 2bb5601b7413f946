// 8-bit values in the vectors of simd.h; compiled once per tier.
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {

HONE_INLINE VI load_i32(const int32_t* p) {
  VI v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
HONE_INLINE void store_i32(int32_t* p, VI v) { std::memcpy(p, &v, sizeof v); }

// kLanes values, each in 32 bits.
HONE_INLINE VI widen(const int8_t* p) {
#if defined(__AVX512F__)
  return (VI)_mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (VI)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  VI v;
  for (int i = 0; i < kLanes; ++i) v[i] = p[i];
  return v;
#endif
}

// kLanes pairs of values, each pair as two halves of 16 bits.
HONE_INLINE VI widen_pairs(const int8_t* p) {
#if defined(__AVX512F__)
  return (VI)_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return (VI)_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  VI v;
  for (int64_t i = 0; i < kLanes; ++i) v[i] = (p[2 * i] & 0xffff) | p[2 * i + 1] * (1 << 16);
  return v;
#endif
}

// The same of the values at `a` and `b`, one of each in a pair. T: int8_t or uint8_t.
template <class T>
HONE_INLINE VI widen_two(const T* a, const T* b) {
#if defined(__AVX512F__)
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a)),
                y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
  const __m256i both = _mm256_set_m128i(_mm_unpackhi_epi8(x, y), _mm_unpacklo_epi8(x, y));
  return (VI)(std::is_signed_v<T> ? _mm512_cvtepi8_epi16(both) : _mm512_cvtepu8_epi16(both));
#elif defined(__AVX2__)
  const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)),
                y = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b));
  const __m128i both = _mm_unpacklo_epi8(x, y);
  return (VI)(std::is_signed_v<T> ? _mm256_cvtepi8_epi16(both) : _mm256_cvtepu8_epi16(both));
#else
  VI v;
  for (int i = 0; i < kLanes; ++i) v[i] = (a[i] & 0xffff) | b[i] * (1 << 16);
  return v;
#endif
}

// Each lane's two products of 16-bit halves, added.
HONE_INLINE VI multiply_pairs(VI a, VI b) {
#if defined(__AVX512F__)
  return (VI)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (VI)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

HONE_INLINE V to_float(VI v) { return __builtin_convertvector(v, V); }

// Lanes that hold values of 8 bits to bytes.
HONE_INLINE void store_i8(int8_t* p, VI v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
#elif defined(__AVX2__)
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
#else
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(v[i]);
#endif
}

HONE_INLINE void store_u8(uint8_t* p, VI v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
#elif defined(__AVX2__)
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(halves, halves));
#else
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint8_t>(v[i]);
#endif
}

// Two vectors behind each other.
HONE_INLINE void store_i8(int8_t* p, VI first, VI second) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  const __m256i both = _mm256_packs_epi32((__m256i)first, (__m256i)second);  // a quarter of each in turn
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_shuffle_epi32(bytes, _MM_SHUFFLE(3, 1, 2, 0)));
#else
  store_i8(p, first);
  store_i8(p + kLanes, second);
#endif
}

// The first n of kLanes values.
HONE_INLINE void store_i8_part(int8_t* p, VI v, int n) {
  if (n >= kLanes) return store_i8(p, v);
  int8_t copy[kLanes];
  store_i8(copy, v);
  for (int i = 0; i < n; ++i) p[i] = copy[i];
}

}  // namespace hone::cpu::HONE_TIER_NS
