#pragma once

#include "ir/op.h"

namespace hone {

// The same bits as elements of another type of equal width.
struct BitCast {
  static constexpr std::string_view kName = "BitCast";
  DType to = DType::f32;

  static void fields(auto& self, auto&& field) { field("to", self.to); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
