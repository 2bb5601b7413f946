#pragma once

#include "kernels/cpu/bf16/gather.h"
#include "kernels/cpu/bf16/kernel.h"
#include "kernels/cpu/transpose/tile.h"

namespace hone::cpu::HONE_TIER_NS {

#if defined(__AVX512BF16__)
HONE_INLINE __m512i load_in_bf16(const bf16* from, __mmask32 columns) {
  return _mm512_maskz_loadu_epi16(columns, from);
}

HONE_INLINE __m512i load_in_bf16(const float* from, __mmask32 columns) {
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(columns), from),
               high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(columns >> 16), from + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}
#else
HONE_INLINE uint16_t bits_of(bf16 v) { return v.bits; }
HONE_INLINE uint16_t bits_of(float v) { return to_bf16(v).bits; }
#endif

// Rows of k become pairs of rows, interleaved.
template <class T>
void pack_rows(const Bf16Panel& p) {
  const auto* from = static_cast<const T*>(p.from);
#if defined(__AVX512BF16__)
  alignas(64) uint16_t places[64];
  for (int i = 0; i < 64; ++i) places[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
  const __m512i low = _mm512_load_si512(places), high = _mm512_load_si512(places + 32);
  const auto columns = static_cast<__mmask32>(p.columns < 32 ? (1u << p.columns) - 1 : ~0u);
  for (int64_t k = 0; k < p.depth; k += 2) {
    const __m512i first = k < p.k ? load_in_bf16(from + k * p.ld, columns) : _mm512_setzero_si512();
    const __m512i second = k + 1 < p.k ? load_in_bf16(from + (k + 1) * p.ld, columns) : _mm512_setzero_si512();
    _mm512_storeu_si512(p.to + k * 32, _mm512_permutex2var_epi16(first, low, second));
    _mm512_storeu_si512(p.to + k * 32 + 32, _mm512_permutex2var_epi16(first, high, second));
  }
#else
  for (int64_t k = 0; k < p.depth; ++k)
    for (int64_t c = 0; c < kBf16Panel; ++c)
      p.to[k / 2 * 2 * kBf16Panel + c * 2 + k % 2] =
          k < p.k && c < p.columns ? bits_of(from[k * p.ld + c]) : uint16_t{0};
#endif
}

// Columns lie in memory as rows, whose pairs are transposed.
template <class T>
void pack_columns(const Bf16Panel& p) {
  const auto* from = static_cast<const T*>(p.from);
  for (int64_t c = 0; c < kBf16Panel; ++c) {
    std::byte* row = p.scratch + c * 2 * p.depth;
    const int64_t values = c < p.columns ? p.k : 0;
    if (values > 0) gather_line(from + c * p.ld, values, row);
    std::memset(row + 2 * values, 0, static_cast<size_t>(2 * (p.depth - values)));
  }
  transpose_tiles(best_tier())
      .bytes4({reinterpret_cast<const char*>(p.scratch), reinterpret_cast<char*>(p.to), kBf16Panel, p.depth / 2,
               2 * p.depth, 4 * kBf16Panel});
}

template <class T>
void pack_panel(const Bf16Panel& p) {
  p.transposed ? pack_columns<T>(p) : pack_rows<T>(p);
}

}  // namespace hone::cpu::HONE_TIER_NS
