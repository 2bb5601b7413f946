#pragma once

#include "ir/op.h"

namespace hone {

// Ops whose result is as large as the data say.

// The multi-indices of the elements of x that are not zero: i64 [rank, found], in row-major order.
struct NonZero {
  static constexpr std::string_view kName = "NonZero";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// non_max_suppression(boxes [N, B, 4], scores [N, C, B], most boxes a class?, iou threshold?, score threshold?):
// i64 [found, 3] of (batch, class, box). A box is two corners (y, x, y, x), or (x, y, width, height) of its centre when
// centered.
struct NonMaxSuppression {
  static constexpr std::string_view kName = "NonMaxSuppression";
  bool centered = false;

  static void fields(auto& self, auto&& field) { field("centered", self.centered); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
