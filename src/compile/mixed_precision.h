#pragma once

#include "compile/compile.h"

namespace hone {

// How the engines that are chosen among are made, and what may be done with them.
struct PrecisionWays {
  std::function<Result<EngineData>(const CompileOptions&)> compile;
  std::function<Result<EngineData>()> fp32;                  // the yardstick of an accuracy budget
  std::function<Result<double>(const EngineData&)> time_us;  // of a run of the whole network
  bool runs = false;                                         // the target is here
  bool timed = false;
  bool reduces = false;          // the target has what the options allow of fp16, bf16 and TF32
  std::function<Peaks()> peaks;  // of the target, measured when they are first asked for; may not be known
};

// Fills in what the program computes its layers in.
void name_precisions(Program& program);

// Which layers are computed in which precision. Without a budget: the fastest of the engines with int8, with fp8 and
// without them, or, where nothing is timed, fp8 wherever it can be, or int8 where that alone is allowed. Where fp16,
// bf16 or TF32 are allowed and things are timed, fp32 is one more candidate, unless its arithmetic alone, at half of
// the GPU's peak, takes longer than the whole network with them: the result is never slower than without. Layers
// that fp16 or bf16 slows down stay in fp32 where the network is faster so. With a budget: only engines that keep
// it, see accuracy_budget.h; where fp16, bf16 or TF32 alone exceed it, fp32 takes their place. Errors: invalid (a
// budget that fp32 does not keep either, or that cannot be measured), and those of builds and runs.
Result<Compiled> choose_precisions(const CompileOptions& options, const PrecisionWays& ways);

}  // namespace hone
