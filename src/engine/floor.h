#pragma once

#include "engine/program.h"

namespace hone {

// The arithmetic operations of a step as ops/cost.h counts them; 0 where that counts none.
double operations_of(const Program& program, const Step& step);

// The least time in microseconds that a step can take where the engine was built: the larger of its operations over the
// peak of arithmetic and of its bytes over the bandwidth that working sets of its size reach. Bytes are those of
// inputs, weights and outputs, each once; operations are those of ops/cost.h, less what a Winograd tactic saves, and
// none for precisions whose peak was not measured. Nothing for control steps, open shapes, and where the peaks are not
// known.
std::optional<double> floor_us(const Program& program, const Step& step);

}  // namespace hone
