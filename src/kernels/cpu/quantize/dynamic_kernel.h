#pragma once

#include "kernels/cpu/quantize/dynamic.h"

namespace hone::cpu {

// Of some values, and of 0; NaN, once met, stays.
struct ValueRange {
  float low = 0, high = 0;
};

struct DynamicKernel {
  ValueRange (*range)(const float* x, int64_t n);
  void (*quantize)(const float* x, int64_t n, DynamicScale by, uint8_t* y);
};

}  // namespace hone::cpu
