// Vectors of neighbouring pixels: compiled once per tier.
#pragma once

#include <algorithm>

#include "kernels/cpu/int8/vector.h"
#include "kernels/cpu/planes/planes_kernel.h"

namespace hone::cpu::HONE_TIER_NS {

// f32 to i8, in the low byte of each lane.
struct QuantizeLanes {
  using Bits = uint8_t;
  Quantizer by;

  HONE_INLINE VI operator()(V x) const {
    const auto zero = static_cast<float>(by.zero);
    const V v = by.divides ? x / set1(by.step) : x * set1(by.step);
    return (to_int(min(max(v, set1(by.low - zero)), set1(by.high - zero))) + by.zero) & (v == v) & 0xff;
  }
};

#if defined(__AVX512F__)
// The low bytes of three vectors, one of each in turn: 48 bytes.
HONE_INLINE void store_pixels(uint8_t* y, VI a, VI b, VI c) {
  const __m512i pixels = (__m512i)(a | (b << 8) | (c << 16));
  const __m512i packed = _mm512_shuffle_epi8(
      pixels,
      _mm512_maskz_broadcast_i32x4(0xffff, _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1)));
  const __m512i order = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
  _mm512_mask_storeu_epi32(y, 0x0fff, _mm512_maskz_permutexvar_epi32(0xffff, order, packed));
}
#endif

#if defined(__AVX512BF16__)
// f32 to bf16, in the low half of each lane.
struct NarrowLanes {
  using Bits = uint16_t;

  HONE_INLINE VI operator()(V x) const {
    return (VI)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)_mm512_cvtneps_pbh(x));
  }
};

// The low halves of three vectors, one of each in turn: 96 bytes.
HONE_INLINE void store_pixels(uint16_t* y, VI a, VI b, VI c) {
  struct Order {
    alignas(64) uint16_t at[64] = {};
    constexpr Order() {
      for (int i = 0; i < 48; ++i) at[i] = static_cast<uint16_t>(i / 3 * 2 + (i % 3 == 2 ? 32 : i % 3));
    }
  };
  static constexpr Order kOrder;
  const __m512i two = (__m512i)(a | (b << 16));
  const auto part = [&](int i) { return _mm512_permutex2var_epi16(two, _mm512_load_si512(kOrder.at + i), (__m512i)c); };
  _mm512_storeu_si512(y, part(0));
  _mm512_mask_storeu_epi32(y + 32, 0x00ff, part(32));
}
#endif

// Of three planes, as colours are, vectors are put together in registers.
template <class Lanes>
HONE_INLINE void convert_pixels(const PixelRun& run, Lanes convert, typename Lanes::Bits* y) {
  int64_t first = 0;
#if defined(__AVX512F__)
  if (run.channels == 3) {
    for (; first + kLanes <= run.count; first += kLanes) {
      const float* x = run.x + first;
      store_pixels(y + 3 * first, convert(load(x)), convert(load(x + run.plane)), convert(load(x + 2 * run.plane)));
    }
  }
#endif
  for (int64_t c = 0; c < run.channels; ++c) {
    const float* x = run.x + c * run.plane;
    for (int64_t i = first; i < run.count; i += kLanes) {
      const int n = static_cast<int>(std::min<int64_t>(run.count - i, kLanes));
      int32_t values[kLanes];
      store_i32(values, convert(load_part(x + i, n)));
      for (int k = 0; k < n; ++k) y[(i + k) * run.channels + c] = static_cast<typename Lanes::Bits>(values[k]);
    }
  }
}

}  // namespace hone::cpu::HONE_TIER_NS
