#include "plan/memory.h"

#include <algorithm>
#include <numeric>

namespace hone {
namespace {

// Whether `a` has always been used for the last time when `b` is written.
bool dies_before(const Lifetime& a, const Lifetime& b, const Schedule* schedule) {
  if (schedule == nullptr) return a.last < b.first;
  return std::all_of(a.uses.begin(), a.uses.end(), [&](int step) { return schedule->before(step, b.first); });
}

bool overlap(const Lifetime& a, const Lifetime& b, const Schedule* schedule) {
  return !dies_before(a, b, schedule) && !dies_before(b, a, schedule);
}

// Places buffers in the given order, each into the smallest gap that fits among those that live with it.
int64_t place(std::span<const Lifetime> buffers, std::span<const size_t> order, const Schedule* schedule,
              std::vector<int64_t>& offsets) {
  std::vector<size_t> placed;  // by offset
  int64_t arena = 0;
  offsets.assign(buffers.size(), 0);
  for (size_t b : order) {
    const int64_t bytes = buffers[b].bytes;
    if (bytes == 0) continue;
    int64_t cursor = 0, best = -1, best_gap = INT64_MAX;
    for (size_t other : placed) {
      if (!overlap(buffers[b], buffers[other], schedule)) continue;
      const int64_t gap = offsets[other] - cursor;
      if (gap >= bytes && gap < best_gap) {
        best = cursor;
        best_gap = gap;
      }
      cursor = std::max(cursor, offsets[other] + buffers[other].bytes);
    }
    offsets[b] = best >= 0 ? best : cursor;
    arena = std::max(arena, offsets[b] + bytes);
    const auto at =
        std::upper_bound(placed.begin(), placed.end(), b, [&](size_t x, size_t y) { return offsets[x] < offsets[y]; });
    placed.insert(at, b);
  }
  return arena;
}

int64_t lower_bound(std::span<const Lifetime> buffers) {
  std::vector<std::pair<int, int64_t>> events;  // growth at a step
  for (const Lifetime& b : buffers) {
    events.emplace_back(b.first, b.bytes);
    events.emplace_back(b.last + 1, -b.bytes);
  }
  std::sort(events.begin(), events.end());  // at one step frees (negative) come first
  int64_t live = 0, most = 0;
  for (const auto& [step, bytes] : events) most = std::max(most, live += bytes);
  return most;
}

}  // namespace

MemoryPlan plan_memory(std::span<const Lifetime> lifetimes, int64_t align, const Schedule* schedule) {
  std::vector<Lifetime> buffers(lifetimes.begin(), lifetimes.end());
  MemoryPlan plan;
  for (Lifetime& b : buffers) {
    b.bytes = (b.bytes + align - 1) / align * align;
    plan.without_reuse_bytes += b.bytes;
  }
  plan.lower_bound_bytes = lower_bound(buffers);
  plan.arena_bytes = INT64_MAX;

  const auto size = [&](size_t i) { return buffers[i].bytes; };
  const auto span = [&](size_t i) { return buffers[i].last - buffers[i].first; };
  const auto by_size = [&](size_t a, size_t b) { return size(a) != size(b) ? size(a) > size(b) : span(a) > span(b); };
  const auto by_area = [&](size_t a, size_t b) { return size(a) * (span(a) + 1) > size(b) * (span(b) + 1); };
  const auto by_span = [&](size_t a, size_t b) { return span(a) != span(b) ? span(a) > span(b) : size(a) > size(b); };
  const auto by_time = [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; };

  const auto attempt = [&](auto&& order_by) {
    if (plan.arena_bytes == plan.lower_bound_bytes) return;
    std::vector<size_t> order(buffers.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), order_by);
    std::vector<int64_t> offsets;
    const int64_t arena = place(buffers, order, schedule, offsets);
    if (arena >= plan.arena_bytes) return;
    plan.arena_bytes = arena;
    plan.offsets = std::move(offsets);
  };
  attempt(by_size);
  attempt(by_area);
  attempt(by_span);
  attempt(by_time);
  return plan;
}

}  // namespace hone
