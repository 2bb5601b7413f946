#pragma once

#include "ir/op.h"

namespace hone {

// The dims [start, end) of the input as an i64 vector; negative values count from the end.
struct ShapeOf {
  static constexpr std::string_view kName = "Shape";
  int64_t start = 0, end = INT64_MAX;

  static void fields(auto& self, auto&& field) {
    field("start", self.start);
    field("end", self.end);
  }
  Tensor of(std::span<const int64_t> dims) const;
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// reshape(x, shape): i64 `shape` may hold one -1 (the rest), and 0 (the input's dim) unless allow_zero.
struct Reshape {
  static constexpr std::string_view kName = "Reshape";
  static constexpr bool kView = true;
  bool allow_zero = false;

  static void fields(auto& self, auto&& field) { field("allow_zero", self.allow_zero); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
