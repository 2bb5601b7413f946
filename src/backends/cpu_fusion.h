#pragma once

#include "ir/graph.h"

namespace hone {

// Joins to products of i8 what makes floats or i8 of their sums, as far as the CPU's kernels can do it: what lies
// behind an i8 result is left to a node of its own.
void fuse_for_cpu(Graph& graph);

}  // namespace hone
