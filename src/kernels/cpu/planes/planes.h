// Images in planes of f32, as models take them, to pixels of a smaller type, as kernels read them.
#pragma once

#include <cstdint>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/thread_pool.h"

namespace hone::cpu {

constexpr int64_t kMostPlanes = 64;

// x -> clip(round(x * step) + zero, low, high), or x / step. Rounds to nearest even; NaN gives 0. The bounds are whole.
struct Quantizer {
  float step = 1;
  bool divides = false;
  int zero = 0;
  float low = -128, high = 127;
};

struct PlanesShape {
  int64_t batch = 1, channels = 1, pixels = 1;  // at most kMostPlanes channels
};

// y[n][pixel][channel] = x[n][channel][pixel], rounded to nearest even: for CPUs with AVX-512 BF16.
void planes_to_pixels(const PlanesShape& shape, const float* x, bf16* y, ThreadPool& pool);
// The same, quantised. The tier must be one that the CPU has.
void planes_to_pixels(const PlanesShape& shape, const Quantizer& by, const float* x, int8_t* y, Tier tier,
                      ThreadPool& pool);

}  // namespace hone::cpu
