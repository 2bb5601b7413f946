#pragma once

#include "ir/op.h"

namespace hone {

// Sliding-window reduction over the spatial dims: kind "max", "average" or "lp" (norm p).
// A second output of "max", when asked for, holds the i64 flat index of each maximum in the input (NCHW order;
// column_major: spatial dims in column-major order).
struct Pool {
  static constexpr std::string_view kName = "Pool";
  std::string kind = "max";
  std::vector<int64_t> kernel, strides, dilations, pads;  // pads: begins, then ends
  bool ceil_mode = false;          // round the output size up; windows that start in the end padding are dropped
  bool count_include_pad = false;  // average: padding counts in the divisor
  bool column_major = false;
  int64_t p = 2;
  bool channels_last = false;

  static void fields(auto& self, auto&& field) {
    field("kind", self.kind);
    field("kernel", self.kernel);
    field("strides", self.strides);
    field("dilations", self.dilations);
    field("pads", self.pads);
    field("ceil_mode", self.ceil_mode);
    field("count_include_pad", self.count_include_pad);
    field("column_major", self.column_major);
    field("p", self.p);
    field("channels_last", self.channels_last);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
