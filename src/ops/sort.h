#pragma once

#include "ir/op.h"

namespace hone {

// topk(x, k): the k largest (or smallest) elements along `axis`, best first, the earlier of equal ones first, and their
// i64 indices. `k` is one integer.
struct TopK {
  static constexpr std::string_view kName = "TopK";
  int64_t axis = -1;
  bool largest = true;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("largest", self.largest);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The different elements of x (flattened), or the different slices along `axis` when `sliced`; ascending when `sorted`,
// else as they first appear. Further outputs, i64: where each first appears, which of them each element of x is, how
// often each appears.
struct Unique {
  static constexpr std::string_view kName = "Unique";
  bool sliced = false;
  int64_t axis = 0;
  bool sorted = true;

  static void fields(auto& self, auto&& field) {
    field("sliced", self.sliced);
    field("axis", self.axis);
    field("sorted", self.sorted);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
