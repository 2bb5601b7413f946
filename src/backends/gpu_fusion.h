#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// Joins nodes that one kernel of the machine's GPU can compute, beyond what the passes join for every backend:
// elementwise work of any form to the convolution or matrix product before it, or to attention or a norm, a Transpose
// or elementwise work on its input to the convolution behind it, and maximum pooling to a network's first convolution.
void fuse_for_gpu(Graph& graph, const Machine& machine);

}  // namespace hone
