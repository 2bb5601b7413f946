#pragma once

#include "ir/op.h"

namespace hone {

// Decision trees over the columns of x [N, F] -> [N, targets]. Inputs after x, all vectors but `nodes`:
//   roots: the first node of each tree, a leaf when negative (leaf k is written as -1 - k, here and as a child)
//   nodes [n, 5]: column, comparison, child when true, child when false, whether NaN counts as true
//   splits [n]: what the column is compared with; for `member`, which set
//   leaves [m + 1]: leaf k gives the votes leaves[k] to leaves[k + 1]
//   targets, weights: of each vote
//   base?: added to each target at the end
//   set_starts?, set_values?: set k holds the values set_starts[k] to set_starts[k + 1]
// Votes for a target are combined by `aggregate`: sum, average (over the trees), min or max.
struct TreeEnsemble {
  static constexpr std::string_view kName = "TreeEnsemble";
  enum Compare { less_equal, less, greater_equal, greater, equal, not_equal, member };
  int64_t targets = 1;
  std::string aggregate = "sum";

  static void fields(auto& self, auto&& field) {
    field("targets", self.targets);
    field("aggregate", self.aggregate);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
