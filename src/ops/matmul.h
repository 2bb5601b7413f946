#pragma once

#include "ir/op.h"

namespace hone {

// matmul(a, b, bias?) over the last two dims (numpy rules: rank-1 operands, broadcast batch dims), each operand
// transposed first when asked (rank >= 2). The bias is [N], added to every row.
// 8-bit integers, of one sign or of both, give i32 sums, and take no bias.
struct MatMul {
  static constexpr std::string_view kName = "MatMul";
  bool trans_a = false, trans_b = false;
  bool nonnegative = false;  // no value of a, of i8, is below 0

  static void fields(auto& self, auto&& field) {
    field("trans_a", self.trans_a);
    field("trans_b", self.trans_b);
    field("nonnegative", self.nonnegative);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
