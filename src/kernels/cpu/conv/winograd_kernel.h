// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The per-tier half of Winograd convolution (schemes: winograd_scheme.h): transforms of one tile between pixels and the
// points at which input and weights are multiplied. The other half is the panel kernel.
#pragma once

#include <cstdint>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace hone::cpu {

constexpr int kMostWinogradPoints = 81;

// V[point] = B^T d B over all channels. V rows have room for channels rounded up to 16, and get zeros there. T is what
// pixels hold and P what points do: float or bf16.
template <class T, class P>
struct WinogradInput {
  const T* pixels[kMostWinogradPoints];  // of the tile, row by row; zeros where outside the image
  int64_t channels;
  P* v;
  int64_t point_stride;
};

template <class T>
struct WinogradOutput {
  const float* m;
  int64_t point_stride;
  int64_t channels;
  int height, width;  // of the tile inside the image
  T* out;             // first pixel
  int64_t row_stride, pixel_stride;
  const Epilogue* epilogue;
  const float* bias;
  const T* residual;  // at the first pixel, strides as out
};

template <class T>
struct WinogradKernel {
  void (*input)(const WinogradInput<T, float>& job);
  // null where pixels are not bf16, and of larger tiles than 2x2
  void (*input_to_bf16)(const WinogradInput<T, bf16>& job);
  void (*output)(const WinogradOutput<T>& job);
};

// Of all schemes, for one tier.
template <class T>
struct WinogradKernels {
  WinogradKernel<T> f2, f4, f5, f4_k4, s2_f2, s2_f4;
};

}  // namespace hone::cpu
