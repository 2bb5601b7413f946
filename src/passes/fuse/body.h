#pragma once

#include "ir/graph.h"

namespace hone {

// Whether kernels of the node's op may do elementwise work on its result before they store it.
bool takes_epilogue(const Graph& graph, NodeId id);

// Two nodes, of which the second uses the result of the first, as one op over the inputs of both, which are added to
// `inputs`. Either may be Fused already.
Op fused_op(const Graph& graph, NodeId first, NodeId second, std::vector<ValueId>& inputs);

}  // namespace hone
