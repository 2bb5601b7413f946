#pragma once

#include <map>
#include <optional>
#include <string>

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

// A graph whose layers are in several copies, each for a part of the batch.
struct Divided {
  Graph graph;
  std::string change;  // "its first layers run for parts of the batch", for a note
};

// The first layers in several copies, one after the other: what they hand on, which for the whole batch goes through
// memory, then stays in the caches. Where the batch is a multiple of `threads`, of which there are 2 to 16, all layers
// up to the last that computes items from items are first copied for each thread: see branches_of(). Nothing where the
// inputs share no batch, or where the layers' data fits into the caches as it is. For a graph before fusion.
Result<std::optional<Divided>> in_sub_batches(const Graph& graph, const CacheSizes& caches, int threads = 1);

// The nodes that compute from one part alone of inputs that are split along their first dim into as many parts as
// `threads`, of which there are several, and the number of the part. Those of different parts may run at once.
std::map<NodeId, int> branches_of(const Graph& graph, int threads);

}  // namespace hone
