// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The per-tier half of depthwise convolution: one or two output rows for a range of channels.
#pragma once

#include "base/dtype.h"
#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

// T is what images hold: float or bf16.
template <class T>
struct DepthwiseRows {
  const ConvProblem* problem;
  const T* image;        // the batch item's input
  const float* weights;  // [tap][weights_ld]
  int64_t weights_ld;    // channels rounded up to 16
  int64_t oy;
  int rows;  // 1 or 2: oy and, sharing its input rows, oy + 1
  int64_t c0, c1;
  T* out;  // the first row's first pixel
  const T* residual;
  const Epilogue* epilogue;
};

template <class T>
using DepthwiseKernel = void (*)(const DepthwiseRows<T>& job);

}  // namespace hone::cpu
