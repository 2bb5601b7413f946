// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hone::cpu {

struct NormRow {
  const float *x, *scale, *bias;
  float* y;
  int64_t length;
  float epsilon;
  bool rms;
  float mean, inverse_deviation;  // results
};

// A band of pixels of an NHWC image.
struct NormBand {
  const float* x;
  float* y;
  int64_t pixels, channels, in_ldc, out_ldc;
};

struct NormKernels {
  void (*row)(NormRow& row);
  // Adds the sums of (x - shift) and of its square over the band's pixels, for each channel.
  void (*sums)(const NormBand& band, const float* shift, double* sum, double* squares);
  // y = x * factor + offset, per channel.
  void (*apply)(const NormBand& band, const float* factor, const float* offset);
};

}  // namespace hone::cpu
