#pragma once

#include "ir/graph.h"

namespace hone {

// Elementwise work on the sums of i8 products, which is joined to their kernels.

// Whether `v` holds the sums of a product of i8 for one reader alone.
bool is_sums(const Graph& graph, ValueId v);

// Leaves to a node of its own what elementwise node `id` does behind the first i8 that it makes of `sums`, if the
// result depends on the sums through that i8 alone. The result is the node that remains before it, or `id`.
NodeId split_behind_i8(Graph& graph, NodeId id, ValueId sums);

// Splits elementwise nodes that read the sums of several products, so that each product can have a node of its own.
void separate_sums(Graph& graph);

}  // namespace hone
