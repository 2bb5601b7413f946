#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace hone::calibrate {

// The values that a quantised tensor must be able to hold; what lies outside is clipped.
struct TensorRange {
  std::string name;
  double low = 0, high = 0;
  std::vector<double> channels = {};  // the largest magnitude in each channel; empty where it is not known
  double largest = 0;                 // the largest magnitude that was seen; 0 where it is not known

  // Of symmetric quantisation: int8 stands for k * threshold / 127. Above 0.
  double threshold() const { return std::max(std::fabs(low), std::fabs(high)); }
  // Whether fp32, in which caches and kernels hold it, can say what it is.
  bool usable() const {
    return low <= high && threshold() <= std::numeric_limits<float>::max() && static_cast<float>(threshold()) > 0;
  }
  bool operator==(const TensorRange&) const = default;
};

struct RangeTable {
  std::string calibrator;  // that found them; of a cache that was read, as far as its format tells
  std::vector<TensorRange> ranges;

  bool operator==(const RangeTable&) const = default;
};

}  // namespace hone::calibrate
