// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The per-tier half of conv_dot: a few output channels, so vectors run along the lines of a window, and
// lanes are summed at the end.
#pragma once

#include <cstdint>

#include "base/cpu_info.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace hone::cpu {

constexpr int64_t kMostDotChannels = 8;

// out[i][c] = epilogue(sum over lines l, values k < depth of lines[l * lines_ld + i][k] * weights of (l, k, c)).
struct DotJob {
  const float* const* lines;
  int64_t lines_ld;
  int64_t line_count, depth;
  int64_t pixels, channels;  // both at least 1; at most kMostDotChannels
  const float* weights;      // [line][vector of depth][channel][lane], zeros from depth on
  float* out;                // dense
  const Epilogue* epilogue;
  const float* residual;  // of the first output
};

struct DotKernel {
  int lanes;
  void (*run)(const DotJob& job);
};

// The tier must not exceed what the CPU has.
const DotKernel& dot_kernel(Tier tier);

}  // namespace hone::cpu
