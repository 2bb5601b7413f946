#pragma once

#include "compile/compile.h"

namespace hone {

// How the engines that are chosen among are made, and what may be done with them.
struct PrecisionWays {
  std::function<Result<EngineData>(const CompileOptions&)> compile;
  std::function<Result<EngineData>()> fp32;  // the yardstick of an accuracy budget
  bool runs = false;                         // the target is here
  bool timed = false;
};

// Fills in what the program computes its layers in.
void name_precisions(Program& program);

// Which layers are computed in which precision. Without a budget: the faster of the engines with int8 and without it,
// or, where nothing is timed, int8 wherever it can be. With a budget: only engines that keep it, see accuracy_budget.h;
// where fp16, bf16 or TF32 alone exceed it, fp32 takes their place. Errors: invalid (a budget that fp32 does not keep
// either, or that cannot be measured), and those of builds and runs.
Result<Compiled> choose_precisions(const CompileOptions& options, const PrecisionWays& ways);

}  // namespace hone
