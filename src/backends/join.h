#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// The second of two nodes, which uses the result of the first, becomes one with it where has_kernel() has one for both.
// Whether it did.
bool join(Graph& graph, NodeId first, NodeId second, const Machine& machine);

}  // namespace hone
