#pragma once

#include <optional>

#include "ir/graph.h"
#include "tactics/tactic.h"
#include "tune/cache.h"

namespace hone {

// In bytes: what the data of a layer for a part of the batch should fit into, and the most that a layer may have before
// parts of the batch are worth a try.
struct CacheSizes {
  int64_t part = 0, whole = INT64_MAX;
};
// Of a CPU: the caches of the cores that are used, or half of what they share.
CacheSizes cpu_cache_sizes(int threads);
// Of the machine's GPU: its second-level cache. Parts are not worth a try where it is not measured to be twice as fast
// as memory: the kernels of a part keep fewer multiprocessors busy.
CacheSizes gpu_cache_sizes(const Machine& machine, TacticCache& cache);

// The graph with its first layers in several copies, one after the other, each for a part of the batch: what they hand
// on, which for the whole batch goes through memory, then stays in the caches. Nothing where the inputs share no batch,
// or where the layers' data fits into the caches as it is. For a graph before fusion.
Result<std::optional<Graph>> in_sub_batches(const Graph& graph, const CacheSizes& caches);

}  // namespace hone
