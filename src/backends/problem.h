#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// A node as the problem that tactics are judged for.
Problem problem_of(const Graph& graph, NodeId id);

}  // namespace hone
