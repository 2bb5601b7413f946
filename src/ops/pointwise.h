#pragma once

#include "ir/op.h"

namespace hone {

// All elementwise work: a scalar program over inputs that broadcast to one shape (numpy rules).
struct Pointwise {
  static constexpr std::string_view kName = "Pointwise";
  PointwiseProgram program;

  static void fields(auto& self, auto&& field) { field("program", self.program); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
