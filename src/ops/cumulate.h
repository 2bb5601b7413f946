#pragma once

#include "ir/op.h"

namespace hone {

// cumulate(x, axis): running sum or product along an axis (one integer); exclusive: of the elements before; reverse:
// from the end. kind: sum, prod.
struct Cumulate {
  static constexpr std::string_view kName = "Cumulate";
  std::string kind = "sum";
  bool exclusive = false, reverse = false;

  static void fields(auto& self, auto&& field) {
    field("kind", self.kind);
    field("exclusive", self.exclusive);
    field("reverse", self.reverse);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
