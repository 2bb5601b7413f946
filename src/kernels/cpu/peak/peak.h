// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Loops that do nothing but what is measured: multiply-adds in registers, reads of memory.
#pragma once

#include <cstdint>

#include "base/cpu_info.h"

namespace hone::cpu {

struct PeakKernel {
  int64_t operations;  // of a round; a multiply-add is two
  // `data`: a factor and a summand; what came out is stored there.
  void (*multiply_add)(int64_t rounds, float* data);
  // The sum of n floats, n a multiple of 128.
  float (*sum)(const float* x, int64_t n);
};

// The tier must not exceed what the CPU has.
const PeakKernel& peak_kernel(Tier tier);

}  // namespace hone::cpu
