#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// Computes in `type` (f16 or bf16, with sums in f32) what a kernel of the machine's GPU can: convolutions, matrix
// products and attention, and what lies between them. Everything else, and the graph's inputs and outputs, keep their
// types; casts stand where the two meet. Weights that `type` cannot hold keep their node in f32.
void reduce_precision(Graph& graph, DType type, const Machine& machine);

}  // namespace hone
