#include "backends/min_cut.h"

#include <algorithm>
#include <cmath>

namespace hone {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

}  // namespace

void MinCut::add_edge(size_t from, size_t to, double capacity) {
  edges_of_[from].push_back(edges_.size());
  edges_.push_back({to, capacity});
  edges_of_[to].push_back(edges_.size());
  edges_.push_back({from, 0});
}

size_t MinCut::add_point(double first, double second) {
  const size_t point = edges_of_.size();
  edges_of_.emplace_back();
  const double common = std::min(first, second);
  add_edge(kFirst, point, second - common);
  add_edge(point, kSecond, first - common);
  return point - 2;
}

void MinCut::add_cost(size_t from, size_t to, double cost) { add_edge(from + 2, to + 2, cost); }

std::vector<size_t> MinCut::reach(size_t start, bool backwards) const {
  std::vector<size_t> by(edges_of_.size(), kNone), open{start};
  for (size_t i = 0; i < open.size(); ++i)
    for (const size_t e : edges_of_[open[i]]) {
      const size_t next = edges_[e].to;
      if (next == start || by[next] != kNone || edges_[backwards ? e ^ 1 : e].capacity <= 0) continue;
      by[next] = e;
      open.push_back(next);
    }
  return by;
}

// Along a shortest path (Edmonds and Karp, 1972).
bool MinCut::augment() {
  const std::vector<size_t> by = reach(kFirst, false);
  if (by[kSecond] == kNone) return false;
  double least = HUGE_VAL;
  for (size_t p = kSecond; p != kFirst; p = edges_[by[p] ^ 1].to) least = std::min(least, edges_[by[p]].capacity);
  for (size_t p = kSecond; p != kFirst; p = edges_[by[p] ^ 1].to) {
    edges_[by[p]].capacity -= least;
    edges_[by[p] ^ 1].capacity += least;
  }
  return true;
}

std::vector<bool> MinCut::first_side() {
  while (augment()) {
  }
  const std::vector<size_t> to_second = reach(kSecond, true);
  std::vector<bool> first;
  for (size_t p = 2; p < to_second.size(); ++p) first.push_back(to_second[p] == kNone);
  return first;
}

}  // namespace hone
