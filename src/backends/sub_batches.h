#pragma once

#include <optional>

#include "ir/graph.h"

namespace hone {

// In bytes: what holds the data of a layer at no cost, and the most that a layer may have before parts of the batch
// are better.
struct CacheSizes {
  int64_t part = 0, whole = 0;
};
// Of a CPU: the caches of the cores that are used, or half of what they share.
CacheSizes cpu_cache_sizes(int threads);
// Of a GPU: its second-level cache.
Result<CacheSizes> gpu_cache_sizes(int ordinal);

// The graph with its first layers in several copies, one after the other, each for a part of the batch: what they hand
// on, which for the whole batch goes through memory, then stays in the caches. Nothing where the inputs share no batch,
// or where the layers' data fits into the caches as it is. For a graph before fusion.
Result<std::optional<Graph>> in_sub_batches(const Graph& graph, const CacheSizes& caches);

}  // namespace hone
