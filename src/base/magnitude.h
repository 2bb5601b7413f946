#pragma once

#include <map>
#include <string>
#include <vector>

namespace hone {

// Of a tensor: what int8 is to reach, see calibrate/ranges.h.
struct Magnitude {
  double whole = 0;
  std::vector<double> channels = {};  // the largest in each channel; empty where it is not known
  double largest = 0;                 // that was seen, clipped by nothing; 0 where it is not known
  bool operator==(const Magnitude&) const = default;
};
using Thresholds = std::map<std::string, Magnitude>;  // of a network's tensors, by name

}  // namespace hone
