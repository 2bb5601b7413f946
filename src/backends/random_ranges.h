#pragma once

#include <vector>

#include "backends/value_bounds.h"
#include "tactics/tactic.h"

namespace hone {

// What values of the graph, in f32, lie in when it runs once on the CPU on inputs as random_tensor makes them; of the
// batch, where the graph allows it, one item when the whole were too much work. Values that become NaN are left out.
// The same graph with the same constants runs once for all builds that share a store (`machine.store`). Errors:
// unsupported (too much work, open dims), and those of a run.
Result<Bounds> ranges_on_random_data(const Graph& graph, const std::vector<ValueId>& values, const Machine& machine);

}  // namespace hone
