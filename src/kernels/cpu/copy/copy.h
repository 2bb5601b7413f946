// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Strided copies, fills and paddings of elements of 1, 2, 4, 8 or 16 bytes.
#pragma once

#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"

namespace hone::cpu {

// y[sum of i_d * y_strides_d] = x[x_offset + sum of i_d * x_strides_d] over all indices below `dims`. Strides in
// elements; x's may be 0 or negative.
class CopyPlan {
 public:
  static Result<CopyPlan> make(std::span<const int64_t> dims, std::span<const int64_t> x_strides,
                               std::span<const int64_t> y_strides, int64_t element_bytes, int64_t x_offset = 0);
  // x[starts + i * steps] for every i below `dims`; y dense.
  static Result<CopyPlan> slice(std::span<const int64_t> x_dims, std::span<const int64_t> starts,
                                std::span<const int64_t> steps, std::span<const int64_t> dims, int64_t element_bytes);
  // Broadcast of dense x to dense y of `dims`, numpy rules.
  static Result<CopyPlan> expand(std::span<const int64_t> x_dims, std::span<const int64_t> dims, int64_t element_bytes);
  static Result<CopyPlan> tile(std::span<const int64_t> x_dims, std::span<const int64_t> repeats,
                               int64_t element_bytes);

  // No workspace. For one input of a concatenation give y at its first element, for a part of a split x.
  void run(const void* x, void* y, ThreadPool& pool) const;

 private:
  std::vector<int64_t> dims_, x_strides_, y_strides_;  // of the outer loops, in bytes
  int64_t run_ = 1, run_x_ = 0, run_y_ = 0;            // the innermost loop: elements, bytes between them
  int64_t width_ = 1, x_offset_ = 0;
  bool same_ = false;  // the innermost loop reads one element only
};

enum class PadMode { constant, reflect, edge, wrap };

// y of dims begin + x + end; negative amounts crop.
class PadPlan {
 public:
  static Result<PadPlan> make(std::span<const int64_t> x_dims, std::span<const int64_t> begin,
                              std::span<const int64_t> end, PadMode mode, int64_t element_bytes);

  // `value` is one element, for mode constant only. No workspace.
  void run(const void* x, void* y, const void* value, ThreadPool& pool) const;

 private:
  void row(const char* x, char* y, const char* value, int64_t index, int64_t begin, int64_t end) const;

  std::vector<int64_t> dims_;                  // of y, up to the last that is padded
  std::vector<std::vector<int64_t>> from_;     // per dim, the byte offset in x of each index of y, or -1
  int64_t inside_begin_ = 0, inside_end_ = 0;  // of the last dim: where indices of x run on
  int64_t unit_ = 1, width_ = 1;               // elements behind an index of the last dim, and bytes of one
};

// n copies of one element.
void fill(void* y, int64_t n, const void* value, int64_t element_bytes, ThreadPool& pool);

}  // namespace hone::cpu
