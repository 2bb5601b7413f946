#include "plan/memory.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace hone {
namespace {

// Of the search for a smaller arena: its time grows with the rounds and with the square of the buffers.
constexpr size_t kMostRounds = 500, kMostPlacements = 300'000;

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

// With streams: what lives at steps, one of each stream, that may run at the same time.
int64_t lower_bound(std::span<const Lifetime> buffers, const Schedule& schedule) {
  const int steps = static_cast<int>(schedule.stream.size());
  const auto stream_of = [&](int step) { return step < steps ? schedule.stream[static_cast<size_t>(step)] : -1; };
  std::vector<int> chosen;
  std::vector<size_t> live;
  for (int stream = schedule.streams; stream-- > 0;) {
    int64_t most = -1;
    std::vector<size_t> lives_there;
    int at = -1;
    for (int step = 0; step < steps; ++step) {
      if (stream_of(step) != stream) continue;
      if (std::ranges::any_of(chosen, [&](int c) { return schedule.before(c, step) || schedule.before(step, c); }))
        continue;
      int64_t bytes = 0;
      std::vector<size_t> here;
      for (size_t b = 0; b < buffers.size(); ++b) {
        const Lifetime& life = buffers[b];
        if (life.first > step || life.last < step) continue;
        if (!std::ranges::all_of(life.uses, [&](int use) { return stream_of(use) == stream; })) continue;
        bytes += life.bytes;
        here.push_back(b);
      }
      if (bytes <= most) continue;
      most = bytes;
      at = step;
      lives_there = std::move(here);
    }
    if (at < 0) continue;
    chosen.push_back(at);
    live.insert(live.end(), lives_there.begin(), lives_there.end());
  }
  int64_t sum = 0;
  for (size_t i = 0; i < live.size(); ++i) {
    for (size_t j = 0; j < i; ++j)
      if (!overlap(buffers[live[i]], buffers[live[j]], &schedule)) return 0;
    sum += buffers[live[i]].bytes;
  }
  return sum;
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
  if (schedule != nullptr) plan.lower_bound_bytes = std::max(plan.lower_bound_bytes, lower_bound(buffers, *schedule));
  plan.arena_bytes = INT64_MAX;

  const auto size = [&](size_t i) { return buffers[i].bytes; };
  const auto span = [&](size_t i) { return buffers[i].last - buffers[i].first; };
  const auto by_size = [&](size_t a, size_t b) { return size(a) != size(b) ? size(a) > size(b) : span(a) > span(b); };
  const auto by_area = [&](size_t a, size_t b) { return size(a) * (span(a) + 1) > size(b) * (span(b) + 1); };
  const auto by_span = [&](size_t a, size_t b) { return span(a) != span(b) ? span(a) > span(b) : size(a) > size(b); };
  const auto by_time = [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; };

  std::vector<size_t> best_order;
  std::vector<int64_t> offsets;
  const auto keep = [&](const std::vector<size_t>& order, int64_t arena) {
    if (arena >= plan.arena_bytes) return;
    plan.arena_bytes = arena;
    plan.offsets = offsets;
    best_order = order;
  };
  const auto attempt = [&](auto&& order_by) {
    std::vector<size_t> order(buffers.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (plan.arena_bytes == plan.lower_bound_bytes) return;
    std::stable_sort(order.begin(), order.end(), order_by);
    keep(order, place(buffers, order, schedule, offsets));
  };
  attempt(by_size);
  attempt(by_area);
  attempt(by_span);
  attempt(by_time);
  // What lies highest, or every other time any buffer, is placed earlier, and stays so where the arena is no larger.
  std::vector<size_t> order = best_order;
  std::vector<int64_t> placed = plan.offsets;
  int64_t arena = plan.arena_bytes;
  std::mt19937 random(1);
  const size_t rounds = std::min(kMostRounds, kMostPlacements / std::max<size_t>(buffers.size(), 1));
  for (size_t round = 0; round < rounds && plan.arena_bytes > plan.lower_bound_bytes; ++round) {
    std::vector<size_t> moved = order;
    const auto end = [&](size_t i) { return placed[i] + buffers[i].bytes; };
    const auto highest = std::ranges::max_element(moved, {}, end) - moved.begin();
    const auto from = round % 2 == 0 ? highest : static_cast<std::ptrdiff_t>(random() % moved.size());
    const auto to = static_cast<std::ptrdiff_t>(random() % static_cast<size_t>(from + 1));
    std::rotate(moved.begin() + to, moved.begin() + from, moved.begin() + from + 1);
    const int64_t bytes = place(buffers, moved, schedule, offsets);
    if (bytes > arena) continue;
    arena = bytes;
    order = std::move(moved);
    placed = offsets;
    keep(order, arena);
  }
  return plan;
}

}  // namespace hone
