#pragma once

#include "base/tensor.h"

namespace hone::calibrate {

// Tells noise from data: in photographs, sound and the like, neighbouring values resemble each other; in random numbers
// they do not. Streams: sums only.
class NoiseTest {
 public:
  // Takes in a tensor of floats; others are left alone. Neighbours are looked for along every axis but the first.
  void observe(const Tensor& tensor);
  // Whether, of at least a thousand values, neighbours are uncorrelated along every axis, within four deviations of
  // what independent values show by chance (Bartlett: 1 / sqrt(pairs)) or 0.01.
  bool looks_random() const;

 private:
  struct Axis {
    double products = 0, pairs = 0;
  };
  double count_ = 0, sum_ = 0, squares_ = 0;
  std::vector<Axis> axes_;
};

}  // namespace hone::calibrate
