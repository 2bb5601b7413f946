// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hone::cpu {

// One output pixel from four input ones; a null b or c stands for weight 0 of the columns or rows. T is what pixels
// hold: float or bf16.
template <class T>
struct ResizePixel {
  const T *a, *b, *c, *d;  // top left, top right, bottom left, bottom right
  float x_weight, y_weight;
  T* y;
  int64_t channels;
};
template <class T>
using ResizePixelFn = void (*)(const ResizePixel<T>&);

}  // namespace hone::cpu
