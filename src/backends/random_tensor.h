#pragma once

#include "ir/type.h"

namespace hone {

// What is timed with: floats and integers of 8 bits at random over their whole use, in [-1, 1) and [-127, 127]. Other
// integers are 0: they may be indices.
Tensor random_tensor(const TensorType& type);
// The few thousand numbers that repeat in it.
Tensor random_period(DType type);

}  // namespace hone
