// Plain epilogues of sums that are in registers: the arithmetic of finish_impl.h, and so the same results.
#pragma once

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

// Nearest even. Too large a value has to be clipped first; what is too small, or no number, becomes the smallest i32,
// which packing makes the smallest i8.
HONE_INLINE __m512i to_whole(V v, V high) {
  return _mm512_maskz_cvtps_epi32(0xffff, _mm512_maskz_min_ps(0xffff, high, v));
}

// Four vectors of i32 to bytes, a quarter of each in turn: [lane of 128 bits][vector][4].
HONE_INLINE __m512i pack_quarters(__m512i a, __m512i b, __m512i c, __m512i d) {
  return _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
}

HONE_INLINE __mmask16 lanes_below(int n) { return static_cast<__mmask16>(n >= kLanes ? 0xffff : (1u << n) - 1); }

// The first n bytes of as many as COLS vectors of sums give.
template <int COLS>
HONE_INLINE void store_bytes(int8_t* to, __m512i v, int n) {
  if (COLS != 3 && n == COLS * kLanes) return static_cast<void>(std::memcpy(to, &v, COLS * kLanes));
  if (n % 4 == 0) return _mm512_mask_storeu_epi32(to, lanes_below(n / 4), v);  // faster than bytes
  _mm512_mask_storeu_epi8(to, (1ull << n) - 1, v);
}

template <int ROWS, int COLS>
HONE_INLINE void finish_plain(__m512i (&sums)[ROWS][COLS], const Int8Finish& job) {
  const Int8Epilogue& e = *job.epilogue;
  const auto columns = static_cast<int>(job.columns);
  const V high = set1(e.high), residual_scale = set1(e.residual_scale);
  HONE_UNROLL
  for (int j = 0; j < COLS; ++j) {
    const int64_t channel = job.channel + j * kLanes;
    const __mmask16 lanes = lanes_below(columns - j * kLanes);
    const V scale = _mm512_maskz_loadu_ps(lanes, e.scale + channel);
    const V bias = e.real.bias == nullptr ? zero() : (V)_mm512_maskz_loadu_ps(lanes, e.real.bias + channel);
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      V v = to_float((VI)sums[i][j]) * scale + bias;
      if (e.residual != nullptr) {
        const __m128i bytes = _mm_maskz_loadu_epi8(lanes, e.residual + job.at + i * job.ld + j * kLanes);
        v += to_float((VI)_mm512_maskz_cvtepi8_epi32(0xffff, bytes)) * residual_scale;
      }
      sums[i][j] = to_whole(v, high);
    }
  }
  const __m512i low = _mm512_set1_epi8(static_cast<char>(e.low));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) {
    const __m512i mixed = pack_quarters(sums[i][0], sums[i][1 % COLS], sums[i][2 % COLS], sums[i][3 % COLS]);
    const __m512i bytes = _mm512_maskz_permutexvar_epi32(0xffff, order, _mm512_max_epi8(mixed, low));
    store_bytes<COLS>(static_cast<int8_t*>(job.out) + job.at + i * job.ld, bytes, columns);
  }
}

}  // namespace hone::cpu::HONE_TIER_NS
