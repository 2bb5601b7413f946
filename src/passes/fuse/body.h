#pragma once

#include "ir/graph.h"

namespace hone {

// Whether kernels of the node's op may do elementwise work on its result before they store it.
bool takes_epilogue(const Graph& graph, NodeId id);

// `anchor` and the pointwise node that uses its result, as one op over the inputs of both, which are added to `inputs`.
Op fused_op(const Graph& graph, NodeId anchor, NodeId pointwise, std::vector<ValueId>& inputs);

}  // namespace hone
