// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Loop-nest arithmetic that plans of several kernel families share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace hone::cpu {

// Drops dims of extent 1 and merges neighbours wherever the strides of every operand allow it.
// One dim, perhaps of extent 1, always remains.
void collapse_dims(std::vector<int64_t>& dims, std::span<std::vector<int64_t>> strides);

// How many tasks to cut `work` units into: at most `threads`, and never below `grain` units each.
inline int64_t task_count(int64_t work, int64_t grain, int threads) {
  return std::clamp<int64_t>(work / std::max<int64_t>(grain, 1), 1, threads);
}

// The part of [0, n) that task `t` of `tasks` does.
struct Part {
  int64_t begin, end;
};
inline Part part_of(int64_t n, int64_t t, int64_t tasks) { return {n * t / tasks, n * (t + 1) / tasks}; }

// Calls f(first row, height) for tiles of `most` rows at most, of as equal heights as can be.
template <class F>
void for_tiles(int64_t rows, int64_t most, const F& f) {
  const int64_t tiles = (rows + most - 1) / most;
  for (int64_t t = 0; t < tiles; ++t) {
    const Part part = part_of(rows, t, tiles);
    f(part.begin, static_cast<int>(part.end - part.begin));
  }
}

}  // namespace hone::cpu
