// The two passes over a run of values: compiled once per tier.
#pragma once

#include "kernels/cpu/int8/vector.h"
#include "kernels/cpu/quantize/dynamic_kernel.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

static ValueRange range_of(const float* x, int64_t n) {
  constexpr int kChains = 4;  // so that steps do not wait for each other
  V low[kChains] = {}, high[kChains] = {};
  int64_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes) {
    HONE_UNROLL
    for (int j = 0; j < kChains; ++j) {
      const V v = load(x + i + j * kLanes);
      low[j] = math::minimum(low[j], v);
      high[j] = math::maximum(high[j], v);
    }
  }
  for (; i < n; i += kLanes) {
    const V v = n - i >= kLanes ? load(x + i) : load_n(x + i, static_cast<int>(n - i));  // the rest reads as 0
    low[0] = math::minimum(low[0], v);
    high[0] = math::maximum(high[0], v);
  }
  HONE_UNROLL
  for (int j = 1; j < kChains; ++j) {
    low[0] = math::minimum(low[0], low[j]);
    high[0] = math::maximum(high[0], high[j]);
  }
  ValueRange range{low[0][0], high[0][0]};
  for (int k = 1; k < kLanes; ++k) {
    if (!(low[0][k] >= range.low) && range.low == range.low) range.low = low[0][k];
    if (!(high[0][k] <= range.high) && range.high == range.high) range.high = high[0][k];
  }
  return range;
}

// The bounds are whole numbers, so that clipping before rounding is the same.
HONE_INLINE VI quantized(V x, DynamicScale by) {
  const auto zero = static_cast<float>(by.zero);
  const V v = x / set1(by.scale);
  return (to_int(min(max(v, set1(-zero)), set1(255.f - zero))) + int32_t{by.zero}) & (v == v);
}

static void quantize_by(const float* x, int64_t n, DynamicScale by, uint8_t* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_u8(y + i, quantized(load(x + i), by));
  if (i == n) return;
  const VI last = quantized(load_n(x + i, static_cast<int>(n - i)), by);
  for (int k = 0; i < n; ++i, ++k) y[i] = static_cast<uint8_t>(last[k]);
}

extern const DynamicKernel kDynamic;
const DynamicKernel kDynamic{range_of, quantize_by};

}  // namespace hone::cpu::HONE_TIER_NS
