#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hone {

// A buffer that lives from step `first` to step `last`, both included.
struct Lifetime {
  int first = 0, last = 0;
  int64_t bytes = 0;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;       // one a lifetime, aligned
  int64_t arena_bytes = 0;
  int64_t lower_bound_bytes = 0;      // the most that lives at one step: no plan can need less
  int64_t without_reuse_bytes = 0;
};

// Offsets such that no two buffers that live at the same step overlap. Sizes are rounded up to `align` (a power of
// two). Pure; several placement orders are tried and the smallest arena wins.
MemoryPlan plan_memory(std::span<const Lifetime> lifetimes, int64_t align = 64);

}  // namespace hone
