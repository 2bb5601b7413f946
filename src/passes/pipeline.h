#pragma once

#include "passes/manager.h"

namespace hone {

// Brings an imported graph to its canonical form: constants computed, no node that does nothing, decomposed functions
// recognised, batch norms and biases inside the convolutions and matrix products before them.
Status canonicalize(Graph& graph, const PassOptions& options = {});

// Joins elementwise nodes and names the functions that they spell out.
Status merge_elementwise(Graph& graph, const PassOptions& options = {});

// Does that, and joins them to the convolutions and matrix products before them where every backend can do it.
Status fuse(Graph& graph, const PassOptions& options = {});

// Makes convolutions and their like channels-last, with Transposes only where the network needs another order.
Status assign_layout(Graph& graph, const PassOptions& options = {});

}  // namespace hone
