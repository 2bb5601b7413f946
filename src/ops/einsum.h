#pragma once

#include "ir/op.h"

namespace hone {

// What an einsum equation says about operands of known ranks: a label for each dim. Ellipsis dims get labels of their
// own.
struct EinsumPlan {
  std::vector<std::vector<int>> operands;
  std::vector<int> output;
  int labels = 0;
};
// `ranks` holds -1 for operands whose rank is unknown; their labels then leave out the ellipsis.
Result<EinsumPlan> einsum_plan(std::string_view equation, std::span<const int64_t> ranks);

// Sums of products after numpy's einsum, with any number of operands: "bij,bjk->bik".
struct Einsum {
  static constexpr std::string_view kName = "Einsum";
  std::string equation;

  static void fields(auto& self, auto&& field) { field("equation", self.equation); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
