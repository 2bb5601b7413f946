#pragma once

#include "base/tensor.h"

namespace hone::tools {

// How far a tensor is from another, the yardstick. Equal elements count as 0, NaN beside NaN too; where only one is
// finite the errors are infinite.
struct Difference {
  double max_abs = 0, mean_abs = 0;
  double snr_db = 0;   // 10 log10(sum b^2 / sum (a - b)^2); infinite when all are equal
  double cosine = 1;   // of the angle between the two as vectors; 1 when both are zero
  double largest = 0;  // the largest finite magnitude of the yardstick
};

// Nothing when they cannot be compared element by element: other element counts, strings, sequences.
std::optional<Difference> difference(const Tensor& value, const Tensor& yardstick);

}  // namespace hone::tools
