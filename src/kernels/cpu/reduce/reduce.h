// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 reductions over any axes of a dense array. Sums run in fp32 for at most 32 terms a lane and then in double.
#pragma once

#include <span>
#include <vector>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/status.h"
#include "base/thread_pool.h"

namespace hone::cpu {

enum class ReduceKind { sum, mean, max, min, prod, sum_square, l1, l2, log_sum, log_sum_exp };

class ReducePlan {
 public:
  // y holds the dims that are not in `axes`, in order. Reducing nothing gives the kind's neutral value (NaN for mean).
  static Result<ReducePlan> make(ReduceKind kind, std::span<const int64_t> dims, std::span<const int64_t> axes,
                                 Tier tier = best_tier());

  // No workspace; x and y must not overlap.
  void run(const float* x, float* y, ThreadPool& pool) const;
  void run(const bf16* x, bf16* y, ThreadPool& pool) const;  // for CPUs with AVX-512 BF16

 private:
  template <class T>
  void run_on(const T* x, T* y, ThreadPool& pool) const;
  template <class T>
  void columns(const T* x, T* y, int64_t unit) const;
  template <class T>
  void rows(const T* x, T* y, int64_t index) const;
  template <class T>
  void short_rows(const T* x, T* y, int64_t unit) const;
  int64_t kept_offset(int64_t index) const;
  int64_t reduced_offset(int64_t index) const;

  ReduceKind kind_ = ReduceKind::sum;
  Tier tier_ = Tier::scalar;
  std::vector<int64_t> kept_, kept_strides_;        // outer loops over y
  std::vector<int64_t> reduced_, reduced_strides_;  // outer loops over what is reduced
  int64_t run_ = 1, stride_ = 0;  // innermost loop: contiguous values to reduce, or neighbouring columns
  bool by_columns_ = false;
  bool short_rows_ = false;          // only the innermost loop, of few values, and outputs one behind the other
  int64_t count_ = 1, outputs_ = 1;  // values reduced into each output
};

// The index of the largest (smallest) value along the middle of [outer, length, inner]: the first, or the last. NaN
// wins.
struct ArgReduceProblem {
  int64_t outer = 1, length = 1, inner = 1;
  bool smallest = false, select_last = false;
};
const char* arg_reduce_supports(const ArgReduceProblem& p);
void arg_reduce(const ArgReduceProblem& p, const float* x, int64_t* y, ThreadPool& pool);

}  // namespace hone::cpu
