#pragma once

#include "kernels/cpu/planes/planes.h"

namespace hone::cpu {

// Some neighbouring pixels of an image.
struct PixelRun {
  const float* x = nullptr;  // the first plane
  int64_t plane = 0;         // from plane to plane
  int64_t channels = 0, count = 0;
};

using QuantizePixelsFn = void (*)(const PixelRun& run, const Quantizer& by, int8_t* y);
using NarrowPixelsFn = void (*)(const PixelRun& run, bf16* y);

}  // namespace hone::cpu
