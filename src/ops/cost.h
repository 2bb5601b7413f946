#pragma once

#include "ir/op.h"

namespace hone {

// The arithmetic operations that the definition of an op asks for, a multiply-add being two: of convolutions, matrix
// products, attention (its two products) and recurrent layers (their products), alone or in Fused. 0 for other ops,
// whose time is that of their memory, and where a dim is not known.
double operation_count(const Op& op, std::span<const TensorType> inputs, std::span<const TensorType> outputs);

}  // namespace hone
