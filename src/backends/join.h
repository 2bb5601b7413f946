#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// What makes a value for one user alone; NodeId::none for an absent value and for what is no node's result.
NodeId sole_producer(const Graph& graph, ValueId v);

// The second of two nodes, which uses the result of the first, becomes one with it where has_kernel() has one for both.
// Whether it did.
bool join(Graph& graph, NodeId first, NodeId second, const Machine& machine);
// A pooling without indices becomes one with what computes its input for it alone.
bool join_pooling(Graph& graph, NodeId id, const Machine& machine);

}  // namespace hone
