// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cpu/pool/pool.h"

namespace hone::cpu {

// One output pixel: the part of its window that lies inside the image.
template <class T>
struct PoolPixelOf {
  const T* x;        // the window's first element inside
  int64_t count[3];  // elements inside, per dim
  int64_t step[3];   // elements from one to the next
  T* y;
  int64_t channels;
  float scale;  // 1 / divisor of an average
};
using PoolPixel = PoolPixelOf<float>;
using PoolPixelFn = void (*)(const PoolPixel&);

// What a tier has.
struct PoolPixels {
  PoolPixelFn (*floats)(PoolKind kind);
  void (*max_of_bytes)(const PoolPixelOf<int8_t>& pixel);
};

constexpr int64_t kPoolRun = 32;  // elements summed in one go

}  // namespace hone::cpu
