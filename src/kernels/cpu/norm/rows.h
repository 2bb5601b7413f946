// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hone::cpu {

// T is what x and y hold: float or bf16.
template <class T>
struct NormRow {
  const T* x;
  const float *scale, *bias;
  T* y;
  int64_t length;
  float epsilon;
  bool rms;
  float mean, inverse_deviation;  // results
};

// A band of pixels of an NHWC image.
template <class T>
struct NormBand {
  const T* x;
  T* y;
  int64_t pixels, channels, in_ldc, out_ldc;
};

template <class T>
struct NormKernels {
  void (*row)(NormRow<T>& row);
  // Adds the sums of (x - shift) and of its square over the band's pixels, for each channel.
  void (*sums)(const NormBand<T>& band, const T* shift, double* sum, double* squares);
  // y = x * factor + offset, per channel.
  void (*apply)(const NormBand<T>& band, const float* factor, const float* offset);
};

}  // namespace hone::cpu
