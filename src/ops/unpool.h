#pragma once

#include "ir/op.h"

namespace hone {

// max_unpool(x, indices, output_shape?): puts each element of x at its index (i64, as Pool gives it) into zeros of the
// size that the pooling attributes undo; `output_shape` then adds zeros at the ends (or crops).
struct MaxUnpool {
  static constexpr std::string_view kName = "MaxUnpool";
  std::vector<int64_t> kernel, strides, pads;

  static void fields(auto& self, auto&& field) {
    field("kernel", self.kernel);
    field("strides", self.strides);
    field("pads", self.pads);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// col2im(x, image_shape, block_shape): x is [N, C * block elements, blocks]; sums the blocks, slid as a convolution
// would, into [N, C, image...].
struct Col2Im {
  static constexpr std::string_view kName = "Col2Im";
  std::vector<int64_t> strides, dilations, pads;  // empty: ones, ones, zeros

  static void fields(auto& self, auto&& field) {
    field("strides", self.strides);
    field("dilations", self.dilations);
    field("pads", self.pads);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
