// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hone::cpu {

// One output pixel from four input ones; a null b or c stands for weight 0 of the columns or rows.
struct ResizePixel {
  const float *a, *b, *c, *d;  // top left, top right, bottom left, bottom right
  float x_weight, y_weight;
  float* y;
  int64_t channels;
};
using ResizePixelFn = void (*)(const ResizePixel&);

}  // namespace hone::cpu
