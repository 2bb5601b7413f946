#pragma once

#include <map>

#include "backends/interval.h"
#include "ir/graph.h"

namespace hone {

using Bounds = std::map<ValueId, Interval>;

// What every value of the graph lies in when the network runs, whatever its inputs are: from constants, types,
// functions that are bounded, norms, and sums of constant weights over what is bounded. `known` are facts from
// elsewhere; a value's bound is within its own. Up to the rounding of the network's arithmetic.
Bounds value_bounds(const Graph& graph, const Bounds& known = {});

}  // namespace hone
