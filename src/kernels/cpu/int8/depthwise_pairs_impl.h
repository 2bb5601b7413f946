// Depthwise convolution of i8 or u8 by pairs of taps, vectors over channels: compiled once per tier.
#pragma once

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

template <class T, int VECTORS>
HONE_INLINE void sum_taps(const Int8DepthwisePixels& p, int64_t pixel, int64_t c) {
  VI sums[VECTORS] = {};
  const int64_t at = pixel * p.x_step + c;
  const auto* weights = static_cast<const int16_t*>(p.weights) + 2 * c;
  for (int64_t t = 0; t < p.taps; t += 2, weights += 2 * p.channels) {
    const auto *a = reinterpret_cast<const T*>(p.x[t]) + at, *b = reinterpret_cast<const T*>(p.x[t + 1]) + at;
    HONE_UNROLL
    for (int j = 0; j < VECTORS; ++j) {
      VI w;
      std::memcpy(&w, weights + 2 * j * kLanes, sizeof w);
      sums[j] += multiply_pairs(widen_two(a + j * kLanes, b + j * kLanes), w);
    }
  }
  HONE_UNROLL
  for (int j = 0; j < VECTORS; ++j) store_i32(p.sums + pixel * p.sums_ld + c + j * kLanes, sums[j]);
}

template <class T>
void depthwise_pairs(const Int8DepthwisePixels& p) {
  const auto* weights = static_cast<const int16_t*>(p.weights);
  for (int64_t i = 0; i < p.pixels; ++i) {
    int64_t c = 0;
    for (; c + 4 * kLanes <= p.channels; c += 4 * kLanes) sum_taps<T, 4>(p, i, c);
    for (; c + kLanes <= p.channels; c += kLanes) sum_taps<T, 1>(p, i, c);
    for (; c < p.channels; ++c) {
      int32_t sum = 0;
      for (int64_t t = 0; t < p.taps; ++t)
        sum += static_cast<T>(p.x[t][i * p.x_step + c]) * weights[2 * (t / 2 * p.channels + c) + t % 2];
      p.sums[i * p.sums_ld + c] = sum;
    }
  }
}

extern const Int8DepthwiseKernel kInt8DepthwisePairs, kUint8DepthwisePairs;
const Int8DepthwiseKernel kInt8DepthwisePairs{2, depthwise_pairs<int8_t>},
    kUint8DepthwisePairs{2, depthwise_pairs<uint8_t>};

}  // namespace hone::cpu::HONE_TIER_NS
