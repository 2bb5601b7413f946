#pragma once

#include <cstdint>

namespace hone::calibrate {

// Where the extremes and sums of each channel are joined with those that are there.
struct ChannelTotals {
  float *low, *high;
  double* sum;
};

struct Total {
  double squares = 0;
  bool finite = true;
};

// The kernels of an instruction tier.
struct ReduceKernels {
  Total (*channels)(const float* x, int64_t outer, int64_t channels, int64_t inner, const ChannelTotals& out);
  int64_t (*bins)(const float* x, int64_t n, float scale, int32_t* bins);
};

// One pass over x, [outer, channels, inner], on the highest instruction tier that the CPU has. What it joins to `out`
// is meaningless when a value is not finite.
Total reduce_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, const ChannelTotals& out);

// bins[i] = floor(|x[i]| * scale), which must fit; returns how many values are 0.
int64_t bins_of(const float* x, int64_t n, float scale, int32_t* bins);

}  // namespace hone::calibrate
