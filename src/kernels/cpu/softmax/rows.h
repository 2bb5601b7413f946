// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hone::cpu {

// T is what x and y hold: float or bf16.
template <class T>
struct SoftmaxKernels {
  // One contiguous row of n values.
  void (*row)(const T* x, T* y, int64_t n, bool log);
  // `width` neighbouring columns of `length` values that lie `stride` values apart.
  void (*columns)(const T* x, T* y, int64_t length, int64_t stride, int64_t width, bool log);
};

}  // namespace hone::cpu
