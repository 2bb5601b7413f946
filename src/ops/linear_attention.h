#pragma once

#include "ir/op.h"

namespace hone {

// linear_attention(q, k, v, state?, decay?, beta?) -> y, state. q: [batch, time, heads * dk]; k: [batch, time, groups *
// dk]; v: [batch, time, groups * dv]; state: [batch, groups, dk, dv], zeros when absent; decay: [batch, time, groups]
// or [batch, time, groups * dk]; beta: [batch, time, groups] or [batch, time, 1]. At each time step, for each group:
//   S = exp(decay) S (with decay);  v = beta (v - S^T k) (with beta);  S = S + k v^T;  y = scale S^T q
// where heads / groups heads of q in a row read the state of one group. scale 0 is 1 / sqrt(dk).
struct LinearAttention {
  static constexpr std::string_view kName = "LinearAttention";
  int64_t heads = 1, groups = 1;
  double scale = 0;

  static void fields(auto& self, auto&& field) {
    field("heads", self.heads);
    field("groups", self.groups);
    field("scale", self.scale);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
