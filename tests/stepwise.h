#pragma once

#include "ops/pointwise.h"

namespace hone::testing {

// The program with every f32 step rounded, as kernels do; evaluation alone rounds casts and results.
inline PointwiseProgram stepwise(const PointwiseProgram& program) {
  PointwiseProgram out;
  std::vector<int32_t> now;
  for (PointwiseInstr instr : program.code) {
    for (int i = 0; i < arity(instr.fn); ++i) instr.operand[i] = now[static_cast<size_t>(instr.operand[i])];
    out.code.push_back(instr);
    if (instr.type == DType::f32 && arity(instr.fn) > 0)
      out.code.push_back({.fn = Fn::cast, .operand = {static_cast<int32_t>(out.code.size()) - 1, -1, -1}});
    now.push_back(static_cast<int32_t>(out.code.size()) - 1);
  }
  return out;
}

}  // namespace hone::testing
