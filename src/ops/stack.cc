#include "ops/stack.h"

#include <algorithm>

#include "ops/gather.h"
#include "ops/movement.h"

namespace hone {
namespace {

Status same_kind(const Tensors& parts) {
  if (parts.empty()) return invalid("there is nothing to join");
  for (const Tensor& part : parts) {
    if (!part.defined() || part.type() == DType::sequence) return invalid("only tensors can be joined");
    if (part.type() != parts[0].type())
      return invalid("cannot join {} and {}", name(parts[0].type()), name(part.type()));
  }
  return {};
}

}  // namespace

Result<Tensor> stack(const Tensors& parts, int64_t axis) {
  HONE_CHECK(same_kind(parts));
  const int64_t rank = parts[0].rank() + 1;
  if (axis < -rank || axis >= rank) return invalid("axis {} of rank {}", axis, rank);
  Dims dims = parts[0].dims();
  dims.insert(dims.begin() + (axis < 0 ? axis + rank : axis), 1);
  Tensors grown;
  for (const Tensor& part : parts) {
    if (part.dims() != parts[0].dims())
      return invalid("cannot stack {} and {}", to_string(parts[0].dims()), to_string(part.dims()));
    grown.push_back(part.reshaped(dims));
  }
  return concat(grown, axis);
}

Tensor empty_stack(const TensorType& element, int64_t axis) {
  Dims dims;
  for (const Dim& d : element.shape.dims) dims.push_back(d.known() ? d.value : 0);
  const auto rank = static_cast<int64_t>(dims.size()) + 1;
  if (axis < 0) axis += rank;
  dims.insert(dims.begin() + std::clamp<int64_t>(axis, 0, rank - 1), 0);
  return Tensor(element.dtype, dims);
}

Result<Tensor> concat(const Tensors& parts, int64_t axis) {
  HONE_CHECK(same_kind(parts));
  const int64_t rank = parts[0].rank();
  if (axis < -rank || axis >= rank) return invalid("axis {} of rank {}", axis, rank);
  const Concat op{.axis = axis < 0 ? axis + rank : axis};
  Types types;
  for (const Tensor& part : parts) types.push_back({part.type(), Shape::of(part.dims())});
  HONE_CHECK(op.infer({types, {}, 1}));
  HONE_TRY(Tensors joined, op.evaluate({parts, 1}));
  return joined[0];
}

Result<Tensor> slice_at(const Tensor& x, int64_t axis, int64_t index) {
  if (axis < 0 || axis >= x.rank()) return invalid("axis {} of rank {}", axis, x.rank());
  if (index < 0 || index >= x.dims()[static_cast<size_t>(axis)])
    return invalid("position {} along axis {} of {}", index, axis, to_string(x.dims()));
  const Tensors args{x, Tensor::scalar(index)};
  HONE_TRY(Tensors slice, Gather{.axis = axis}.evaluate({args, 1}));
  return slice[0];
}

}  // namespace hone
