#pragma once

#include "ir/op.h"

namespace hone {

// Changes of shape for inputs whose dims are not all known; else Reshape says the same.

// squeeze(x, axes?): drops the dims `axes`, which must be 1; all dims that are 1 when there are no axes. The input
// takes the place of the attribute, for axes that are known only when the network runs.
struct Squeeze {
  static constexpr std::string_view kName = "Squeeze";
  static constexpr bool kView = true;
  std::vector<int64_t> axes;

  static void fields(auto& self, auto&& field) { field("axes", self.axes); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// unsqueeze(x, axes?): inserts dims of 1, so that they are the dims `axes` of the result. The input is as in Squeeze.
struct Unsqueeze {
  static constexpr std::string_view kName = "Unsqueeze";
  static constexpr bool kView = true;
  std::vector<int64_t> axes;

  static void fields(auto& self, auto&& field) { field("axes", self.axes); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
