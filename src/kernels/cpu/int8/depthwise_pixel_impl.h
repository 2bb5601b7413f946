// One pixel of a depthwise convolution of i8 or u8, vectors over channels: compiled once per tier.
#pragma once

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

template <class T, int VECTORS>
HONE_INLINE void sum_taps(const Int8DepthwisePixel& p, int64_t c) {
  VI sums[VECTORS] = {};
  const int16_t* weights = p.weights + 2 * c;
  for (int64_t t = 0; t < p.pairs; ++t, weights += 2 * p.channels) {
    const auto *a = reinterpret_cast<const T*>(p.x[2 * t]) + c, *b = reinterpret_cast<const T*>(p.x[2 * t + 1]) + c;
    HONE_UNROLL
    for (int j = 0; j < VECTORS; ++j) {
      VI w;
      std::memcpy(&w, weights + 2 * j * kLanes, sizeof w);
      sums[j] += multiply_pairs(widen_two(a + j * kLanes, b + j * kLanes), w);
    }
  }
  HONE_UNROLL
  for (int j = 0; j < VECTORS; ++j) store_i32(p.sums + c + j * kLanes, sums[j]);
}

template <class T>
void depthwise_pixel(const Int8DepthwisePixel& p) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= p.channels; c += 4 * kLanes) sum_taps<T, 4>(p, c);
  for (; c + kLanes <= p.channels; c += kLanes) sum_taps<T, 1>(p, c);
  for (; c < p.channels; ++c) {
    int32_t sum = 0;
    for (int64_t t = 0; t < 2 * p.pairs; ++t)
      sum += static_cast<T>(p.x[t][c]) * p.weights[2 * (t / 2 * p.channels + c) + t % 2];
    p.sums[c] = sum;
  }
}

extern const Int8DepthwiseFn kInt8DepthwisePixel, kUint8DepthwisePixel;
const Int8DepthwiseFn kInt8DepthwisePixel = depthwise_pixel<int8_t>, kUint8DepthwisePixel = depthwise_pixel<uint8_t>;

}  // namespace hone::cpu::HONE_TIER_NS
