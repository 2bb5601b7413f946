#pragma once

#include <limits>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "calibrate/histogram.h"

namespace hone::calibrate {

// A tensor as [outer, channels, inner].
struct Layout {
  int64_t outer = 1, channels = 1, inner = 1;

  int64_t count() const { return outer * channels * inner; }
  bool operator==(const Layout&) const = default;
};
// `axis`: that of the channels; -1: there is one.
Layout layout_of(const Dims& dims, int64_t axis);

// Of each channel, the finite values.
struct ChannelStatistics {
  std::vector<float> low, high;  // extremes
  std::vector<double> sum;
  int64_t count = 0;  // values of one channel

  ChannelStatistics() = default;
  ChannelStatistics(size_t channels, int64_t values);
  void merge(const ChannelStatistics& other);  // of as many channels, or into an empty one
  double mean(size_t channel) const { return sum[channel] / static_cast<double>(count); }
};

// How many values are not.
struct NotFinite {
  int64_t nans = 0, infinities = 0;

  bool any() const { return nans > 0 || infinities > 0; }
};

// What is known of a tensor after any number of runs, in memory that does not grow with them: about 16 KB, and 16 bytes
// a channel. A run that holds a value that is not finite is counted in `nans` and `infinities` and is left out of the
// rest.
struct Statistics {
  int64_t runs = 0, nans = 0, infinities = 0;
  float low = std::numeric_limits<float>::infinity(), high = -std::numeric_limits<float>::infinity();
  double sum = 0, sum_of_squares = 0;
  ChannelStatistics channels;  // empty without a channel axis, and when runs differ in their number of channels
  Histogram magnitudes;

  bool empty() const { return magnitudes.total() == 0; }
  bool finite() const { return nans == 0 && infinities == 0; }
  bool constant() const { return low == high; }
  double largest() const { return magnitudes.largest(); }
  double mean() const { return sum / static_cast<double>(magnitudes.total()); }
  double deviation() const;

  void merge(const Statistics& other);
  // Takes in a tensor of any real float type. `axis`: that of the channels, or -1. Returns what is not finite in it.
  // The result does not depend on the number of threads.
  NotFinite observe(const Tensor& tensor, int64_t axis, cpu::ThreadPool& pool = cpu::one_thread());
};

}  // namespace hone::calibrate
