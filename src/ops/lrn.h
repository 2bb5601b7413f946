#pragma once

#include "ir/op.h"

namespace hone {

// Local response normalisation across channels: x / (bias + alpha / size * sum of squares over `size` channels
// around)^beta; x is [N, C, ...].
struct Lrn {
  static constexpr std::string_view kName = "Lrn";
  int64_t size = 1;
  double alpha = 1e-4, beta = 0.75, bias = 1;

  static void fields(auto& self, auto&& field) {
    field("size", self.size);
    field("alpha", self.alpha);
    field("beta", self.beta);
    field("bias", self.bias);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
