#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// A node as the problem that tactics are judged for.
Problem problem_of(const Graph& graph, NodeId id);

// Whether a kernel can compute a problem on the GPU that the machine has or, where it has none, on its CPU. The
// reference is no kernel.
bool has_kernel(const Problem& problem, const Machine& machine);

}  // namespace hone
