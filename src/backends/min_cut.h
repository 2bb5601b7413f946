#pragma once

#include <cstddef>
#include <vector>

namespace hone {

// Points to be divided into two sides, so that what the division costs is as little as can be.
class MinCut {
 public:
  // A point that costs this much on the first side and that much on the second.
  size_t add_point(double first, double second);
  // What it costs where `from` is on the first side and `to` on the second; it may be infinite.
  void add_cost(size_t from, size_t to, double cost);

  // Whether each point is on the first side; of equal divisions the one with most points there. Once.
  std::vector<bool> first_side();

 private:
  // Its twin, the same edge backwards, is at its number ^ 1.
  struct Edge {
    size_t to;
    double capacity;
  };
  void add_edge(size_t from, size_t to, double capacity);
  bool augment();
  // The edge by which each point is reached from `start` (of twins: reaches it) while there is capacity; kNone without.
  std::vector<size_t> reach(size_t start, bool backwards) const;

  static constexpr size_t kFirst = 0, kSecond = 1;  // points that stand for the sides
  std::vector<Edge> edges_;
  std::vector<std::vector<size_t>> edges_of_{2};  // by point
};

}  // namespace hone
