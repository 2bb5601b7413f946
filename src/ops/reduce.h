#pragma once

#include "ir/op.h"

namespace hone {

// reduce(x, axes?): i64 `axes` input; absent or empty means all dims, or none when noop_without_axes.
// kind: sum, mean, max, min, prod, sum_square, l1, l2, log_sum, log_sum_exp; sum_i32, of i8 in i32.
struct Reduce {
  static constexpr std::string_view kName = "Reduce";
  std::string kind = "sum";
  bool keep_dims = true;
  bool noop_without_axes = false;

  static void fields(auto& self, auto&& field) {
    field("kind", self.kind);
    field("keep_dims", self.keep_dims);
    field("noop_without_axes", self.noop_without_axes);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The i64 index of the largest (or smallest) element along an axis; the first, or the last when select_last.
struct ArgReduce {
  static constexpr std::string_view kName = "ArgReduce";
  int64_t axis = 0;
  bool smallest = false, keep_dims = true, select_last = false;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("smallest", self.smallest);
    field("keep_dims", self.keep_dims);
    field("select_last", self.select_last);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
