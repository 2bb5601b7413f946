#pragma once

#include <optional>

#include "base/cpu_info.h"
#include "ir/graph.h"

namespace hone {

// The graph with its first layers in several copies, one after the other, each for a part of the batch: what they hand
// on, which for the whole batch goes through memory, then stays in the caches. Nothing where the inputs share no batch,
// or where the layers' data fits into the caches as it is. For a graph before fusion, on a CPU.
Result<std::optional<Graph>> in_sub_batches(const Graph& graph, const cpu::CpuInfo& cpu, int threads);

}  // namespace hone
