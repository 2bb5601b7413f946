#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// Joins to products of i8 what makes floats or i8 of their sums, as far as the CPU's kernels can do it: what lies
// behind an i8 result is left to a node of its own. Joins to products of bf16 the activation and the sum with a
// residual that the passes join to those of f32, and to a Transpose that its result is cast to bf16 or what it moves
// was quantised.
void fuse_for_cpu(Graph& graph, const Machine& machine);

}  // namespace hone
