// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Permutes the dims of a dense array of elements of 1, 2, 4 or 8 bytes: y.dims[i] = x.dims[perm[i]].
#pragma once

#include <span>
#include <vector>

#include "base/cpu_info.h"
#include "base/status.h"
#include "base/thread_pool.h"

namespace hone::cpu {

class TransposePlan {
 public:
  static Result<TransposePlan> make(std::span<const int64_t> dims, std::span<const int64_t> perm, int64_t element_bytes,
                                    Tier tier = best_tier());

  // No workspace; x and y must not overlap.
  void run(const void* x, void* y, ThreadPool& pool) const;

  // y may then be x itself: nothing moves.
  bool is_copy() const { return rows_ == 1 && outer_.size() == 1 && outer_[0] == 1; }

 private:
  // 2-D transposes (rows_ x cols_ to cols_ x rows_, each element of `width_` bytes), or copies of contiguous runs
  // (rows_ == 1), inside a loop nest. Strides in bytes.
  std::vector<int64_t> outer_, x_strides_, y_strides_;
  int64_t rows_ = 1, cols_ = 1, width_ = 1;
  int64_t x_row_ = 0, y_col_ = 0;  // bytes from row to row in x, from column to column in y
  Tier tier_ = Tier::scalar;
};

}  // namespace hone::cpu
