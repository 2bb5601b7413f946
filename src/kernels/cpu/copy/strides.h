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

}  // namespace hone::cpu
