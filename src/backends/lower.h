#pragma once

#include "backends/select.h"
#include "engine/engine_file.h"
#include "ir/graph.h"

namespace hone {

// Called before each node; false cancels the build.
using Progress = std::function<bool(size_t done, size_t total, std::string_view what)>;

// Tactics that were considered for nodes and the nodes around them, and why they are not used: for the report.
using Refusals = std::map<NodeId, std::vector<std::pair<std::string, std::string>>>;

// Turns a graph into steps: a tactic for every node, then offsets for every tensor and workspace. Without
// `keep_outputs` the memory of an output is free again when the last step has read it: only an observer of the steps
// sees it.
Result<EngineData> lower(const Graph& graph, Selector& selector, const Machine& machine, const Progress& progress = {},
                         const Refusals& refusals = {}, bool keep_outputs = true);

}  // namespace hone
