// Compiled once per instruction tier.
#pragma once

#include <algorithm>

#include "calibrate/reduce.h"
#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int64_t kTerms = 32;  // of an fp32 sum, before it is added to one in fp64

// Of a lane each: extremes, sums of x and of x^2, and 0 or NaN: NaN once a value was not finite.
struct Lanes {
  V low, high, sum, squares, odd;

  HONE_INLINE explicit Lanes(V first) : low(first), high(first), sum(zero()), squares(zero()), odd(zero()) {}
  HONE_INLINE void add(V v) {
    low = min(low, v);
    high = max(high, v);
    sum += v;
    squares = fma(v, v, squares);
    odd = fma(v, zero(), odd);
  }
};

HONE_INLINE void join(const Lanes& l, int lane, int64_t channel, const calibrate::ChannelTotals& out, calibrate::Total& total) {
  out.low[channel] = std::min(out.low[channel], l.low[lane]);
  out.high[channel] = std::max(out.high[channel], l.high[lane]);
  out.sum[channel] += static_cast<double>(l.sum[lane]);
  total.squares += static_cast<double>(l.squares[lane]);
  total.finite = total.finite && l.odd[lane] == 0;
}

// Values of one channel that lie together.
static void reduce_run(const float* x, int64_t n, int64_t channel, const calibrate::ChannelTotals& out, calibrate::Total& total) {
  int64_t i = 0;
  while (i + kLanes <= n) {
    Lanes lanes(load(x + i));
    for (int64_t k = 0; k < kTerms && i + kLanes <= n; ++k, i += kLanes) lanes.add(load(x + i));
    for (int lane = 0; lane < kLanes; ++lane) join(lanes, lane, channel, out, total);
  }
  for (; i < n; ++i) {
    Lanes one(set1(x[i]));
    one.add(set1(x[i]));
    join(one, 0, channel, out, total);
  }
}

// Rows of one value a channel.
static void reduce_rows(const float* x, int64_t rows, int64_t channels, const calibrate::ChannelTotals& out, calibrate::Total& total) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int width = static_cast<int>(std::min<int64_t>(kLanes, channels - c));
    const auto get = [&](int64_t row) {
      const float* p = x + row * channels + c;
      return width == kLanes ? load(p) : load_n(p, width);
    };
    Lanes lanes(get(0));
    for (int64_t row = 0; row < rows; ++row) lanes.add(get(row));
    for (int lane = 0; lane < width; ++lane) join(lanes, lane, c + lane, out, total);
  }
}

static calibrate::Total reduce_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, const calibrate::ChannelTotals& out) {
  calibrate::Total total;
  if (inner == 1 && channels > 1) {
    for (int64_t row = 0; row < outer; row += kTerms)
      reduce_rows(x + row * channels, std::min(kTerms, outer - row), channels, out, total);
    return total;
  }
  if (channels == 1) {
    reduce_run(x, outer * inner, 0, out, total);
    return total;
  }
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t c = 0; c < channels; ++c) reduce_run(x + (o * channels + c) * inner, inner, c, out, total);
  return total;
}

extern const calibrate::ReduceChannels kReduceChannels;
const calibrate::ReduceChannels kReduceChannels = reduce_channels;

}  // namespace hone::cpu::HONE_TIER_NS
