// One pixel of a depthwise convolution of i8, vectors over channels: compiled once per tier.
#pragma once

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

template <int VECTORS>
HONE_INLINE void sum_taps(const Int8DepthwisePixel& p, int64_t c) {
  VI sums[VECTORS] = {};
  for (int64_t t = 0; t < p.taps; ++t) {
    HONE_UNROLL
    for (int j = 0; j < VECTORS; ++j) {
      // The upper half of a lane is multiplied by zero, so that the pair is one product.
      const VI weight = widen(p.weights + t * p.weights_ld + c + j * kLanes) & set1i(0xffff);
      sums[j] += multiply_pairs(widen(p.x[t] + c + j * kLanes), weight);
    }
  }
  HONE_UNROLL
  for (int j = 0; j < VECTORS; ++j) store_i32(p.sums + c + j * kLanes, sums[j]);
}

static void depthwise_pixel(const Int8DepthwisePixel& p) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= p.channels; c += 4 * kLanes) sum_taps<4>(p, c);
  for (; c + kLanes <= p.channels; c += kLanes) sum_taps<1>(p, c);
  for (; c < p.channels; ++c) {
    int32_t sum = 0;
    for (int64_t t = 0; t < p.taps; ++t) sum += p.x[t][c] * p.weights[t * p.weights_ld + c];
    p.sums[c] = sum;
  }
}

extern const Int8DepthwiseFn kInt8DepthwisePixel;
const Int8DepthwiseFn kInt8DepthwisePixel = depthwise_pixel;

}  // namespace hone::cpu::HONE_TIER_NS
