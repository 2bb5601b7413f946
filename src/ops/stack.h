#pragma once

#include "ir/op.h"

namespace hone {

// The tensors, of one type and shape, along a new axis (negative: from the end). An error for none.
Result<Tensor> stack(const Tensors& parts, int64_t axis);
// What `stack` makes of no tensor of this type: dims that are not known are 0.
Tensor empty_stack(const TensorType& element, int64_t axis);
// The tensors along an existing axis.
Result<Tensor> concat(const Tensors& parts, int64_t axis);
// x[..., index, ...]: the axis is gone.
Result<Tensor> slice_at(const Tensor& x, int64_t axis, int64_t index);

}  // namespace hone
