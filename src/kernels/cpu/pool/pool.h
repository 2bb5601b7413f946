// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Pooling over NHWC (1 to 3 spatial dims): in fp32 maximum, average, Lp norms with p of 1 and 2, and global forms;
// of bytes the maximum.
#pragma once

#include <cstdint>

#include "base/cpu_info.h"
#include "base/thread_pool.h"

namespace hone::cpu {

enum class PoolKind { max, average, l1, l2 };

// Spatial dims are depth, height, width; leave leading ones at 1 when there are fewer. Padding is what comes before the
// first element; windows may reach beyond the end, and what lies outside never counts but in an average with
// count_include_pad, whose divisor is the part of the window inside the padded extent (pads_end says how far that
// goes).
struct PoolProblem {
  PoolKind kind = PoolKind::max;
  int64_t batch = 1, channels = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
  int64_t pads_begin[3] = {0, 0, 0}, pads_end[3] = {0, 0, 0};
  bool count_include_pad = false;
  int64_t in_ldc = 0, out_ldc = 0;  // elements from pixel to pixel; 0: channels
};

// Null, or why the problem cannot be run.
const char* pool_supports(const PoolProblem& p);

// No workspace is needed. Input and output must not overlap.
void pool(const PoolProblem& p, Tier tier, const float* x, float* y, ThreadPool& threads);

// The maximum of bytes.
void max_pool(const PoolProblem& p, Tier tier, const int8_t* x, int8_t* y, ThreadPool& threads);

// One value a channel: the kernel covers the whole image. Splits over batch and channels.
PoolProblem global_pool(PoolKind kind, int64_t batch, int64_t pixels, int64_t channels, int64_t in_ldc = 0);

}  // namespace hone::cpu
