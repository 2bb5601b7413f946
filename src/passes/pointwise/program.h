#pragma once

#include "passes/rewrite.h"

namespace hone {

// The same function with the fewest instructions: equal ones merged, constants computed, identities and instructions
// that the result does not need removed. Functions spelt out in smaller ones (x * sigmoid(x)) get their name.
PointwiseProgram simplify(const PointwiseProgram& program);

// Names what a program spells out: silu, gelu, hard_swish, hard_sigmoid. One step; false when there is none.
bool name_function(PointwiseProgram& program);

// Merges inputs that are the same value and drops those that the program does not use, unless the output's shape would
// change.
void drop_unused_inputs(const Graph& graph, const Shape& output, PointwiseProgram& program,
                        std::vector<ValueId>& inputs);

}  // namespace hone
