#pragma once

#include "ir/op.h"

namespace hone {

// The determinants of square matrices, the last two dims of x.
struct Det {
  static constexpr std::string_view kName = "Det";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
