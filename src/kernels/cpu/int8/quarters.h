// Blocks of channels whose bytes were interleaved by fours: a vector of sums has a quarter of each 16 of them.
#pragma once

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

// Where channel c of a block lies among its sums.
template <int64_t kBlock = kDepthwiseBlock>
constexpr int64_t place_of(int64_t c) {
  return c % 16 / 4 * (kBlock / 4) + c / 16 * 4 + c % 4;
}

HONE_INLINE void store_in_order(int32_t* to, __m256i a, __m256i b, __m256i c, __m256i d) {
  auto* at = reinterpret_cast<__m256i*>(to);
  _mm256_storeu_si256(at, _mm256_permute2x128_si256(a, b, 0x20));
  _mm256_storeu_si256(at + 1, _mm256_permute2x128_si256(c, d, 0x20));
  _mm256_storeu_si256(at + 2, _mm256_permute2x128_si256(a, b, 0x31));
  _mm256_storeu_si256(at + 3, _mm256_permute2x128_si256(c, d, 0x31));
}

}  // namespace hone::cpu::HONE_TIER_NS
