// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Resizing of the two spatial dims of NHWC images by tables that the caller fills at plan time: each output row or
// column is a weighted sum of two input ones (nearest: of one, with weight 1), for any coordinate rule. Computed in
// fp32; for bf16 in memory has_bf16_set(Bf16Set::avx512).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/status.h"
#include "base/thread_pool.h"

namespace hone::cpu {

// Output position i is x[first] + (x[second] - x[first]) * weight.
struct ResizeTap {
  int64_t first = 0, second = 0;
  float weight = 0;
};

// Taps for the input coordinate of each output position, clamped to the image.
std::vector<ResizeTap> linear_taps(std::span<const double> coordinates, int64_t in);

struct ResizeProblem {
  int64_t batch = 1, channels = 1, in_height = 1, in_width = 1;
  int64_t in_ldc = 0, out_ldc = 0;  // values from pixel to pixel; 0: channels
};

class ResizePlan {
 public:
  // One tap for each output row and each output column.
  static Result<ResizePlan> make(const ResizeProblem& p, std::vector<ResizeTap> rows, std::vector<ResizeTap> columns,
                                 Tier tier = best_tier());

  // No workspace; x and y must not overlap.
  void run(const float* x, float* y, ThreadPool& pool) const;
  void run(const bf16* x, bf16* y, ThreadPool& pool) const;

 private:
  template <class T>
  void resize(const T* x, T* y, ThreadPool& pool) const;

  ResizeProblem p_;
  std::vector<ResizeTap> rows_, columns_;
  Tier tier_ = Tier::scalar;
};

}  // namespace hone::cpu
