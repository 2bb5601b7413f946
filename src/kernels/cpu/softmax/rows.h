// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/cpu_info.h"

namespace hone::cpu {

struct SoftmaxKernels {
  // One contiguous row of n values.
  void (*row)(const float* x, float* y, int64_t n, bool log);
  // `width` neighbouring columns of `length` values that lie `stride` floats apart.
  void (*columns)(const float* x, float* y, int64_t length, int64_t stride, int64_t width, bool log);
};

const SoftmaxKernels& softmax_kernels(Tier tier);

}  // namespace hone::cpu
