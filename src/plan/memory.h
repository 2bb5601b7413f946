#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/streams.h"

namespace hone {

// A buffer that lives from step `first`, which writes it, to step `last`, both included.
struct Lifetime {
  int first = 0, last = 0;
  int64_t bytes = 0;
  std::vector<int> uses = {};  // all steps that use it, where steps run in several streams
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // one a lifetime, aligned
  int64_t arena_bytes = 0;
  int64_t lower_bound_bytes = 0;  // what lives at one step, or at steps of several streams at once: none can need less
  int64_t without_reuse_bytes = 0;
};

// Offsets such that no two buffers that live at the same step overlap. Steps run in the order of their numbers, or as
// `schedule` says: then two buffers share memory only if all uses of one have always ended when the other is written.
// Sizes are rounded up to `align` (a power of two). Pure; several placement orders are tried and the smallest arena
// wins.
MemoryPlan plan_memory(std::span<const Lifetime> lifetimes, int64_t align = 64, const Schedule* schedule = nullptr);

}  // namespace hone
