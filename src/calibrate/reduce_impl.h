// Compiled once per instruction tier, so that nothing from the standard library may be used (see kernels/cpu/simd.h).
#pragma once

#include "calibrate/reduce.h"
#include "kernels/cpu/simd.h"

namespace hone::calibrate::HONE_TIER_NS {

using namespace hone::cpu::HONE_TIER_NS;

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

HONE_INLINE void join(const Lanes& l, int lane, int64_t channel, const ChannelTotals& out, Total& total) {
  if (l.low[lane] < out.low[channel]) out.low[channel] = l.low[lane];
  if (l.high[lane] > out.high[channel]) out.high[channel] = l.high[lane];
  out.sum[channel] += static_cast<double>(l.sum[lane]);
  total.squares += static_cast<double>(l.squares[lane]);
  total.finite = total.finite && l.odd[lane] == 0;
}

// Values of one channel that lie together.
static void reduce_run(const float* x, int64_t n, int64_t channel, const ChannelTotals& out, Total& total) {
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
static void reduce_rows(const float* x, int64_t rows, int64_t channels, const ChannelTotals& out, Total& total) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int width = static_cast<int>(channels - c < kLanes ? channels - c : kLanes);
    const auto get = [&](int64_t row) {
      const float* p = x + row * channels + c;
      return width == kLanes ? load(p) : load_n(p, width);
    };
    Lanes lanes(get(0));
    for (int64_t row = 0; row < rows; ++row) lanes.add(get(row));
    for (int lane = 0; lane < width; ++lane) join(lanes, lane, c + lane, out, total);
  }
}

static Total reduce_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, const ChannelTotals& out) {
  Total total;
  if (inner == 1 && channels > 1) {
    for (int64_t row = 0; row < outer; row += kTerms)
      reduce_rows(x + row * channels, outer - row < kTerms ? outer - row : kTerms, channels, out, total);
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

static int64_t bins_of(const float* x, int64_t n, float scale, int32_t* bins) {
  VI zeros{};
  int64_t i = 0, count = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const V v = load(x + i);
    zeros -= v == zero();
    store(reinterpret_cast<float*>(bins + i), as_float(__builtin_convertvector(abs(v) * set1(scale), VI)));
  }
  for (; i < n; ++i) {
    count += x[i] == 0;
    bins[i] = static_cast<int32_t>(__builtin_fabsf(x[i]) * scale);
  }
  for (int lane = 0; lane < kLanes; ++lane) count += zeros[lane];
  return count;
}

extern const ReduceKernels kReduceKernels;
const ReduceKernels kReduceKernels{reduce_channels, bins_of};

}  // namespace hone::calibrate::HONE_TIER_NS
