#pragma once

#include "ir/op.h"

namespace hone {

// The types of the inputs at hand (undefined where absent), for the shape rules that evaluation shares with inference.
inline Types types_of(const EvalArgs& args) {
  Types types;
  for (const Tensor& t : args.inputs)
    types.push_back(t.defined() ? TensorType{t.type(), Shape::of(t.dims())} : TensorType{});
  return types;
}

}  // namespace hone
