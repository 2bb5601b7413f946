#pragma once

#include "backends/select.h"
#include "engine/engine_file.h"
#include "ir/graph.h"

namespace hone {

// Called before each node; false cancels the build.
using Progress = std::function<bool(size_t done, size_t total, std::string_view what)>;

// Turns a graph into steps: a tactic for every node, then offsets for every tensor and workspace.
Result<EngineData> lower(const Graph& graph, Selector& selector, const Machine& machine, const Progress& progress = {});

}  // namespace hone
