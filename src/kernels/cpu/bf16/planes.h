#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/thread_pool.h"

namespace hone::cpu {

constexpr int64_t kMostPlanes = 64;

// y[n][pixel][channel] = x[n][channel][pixel], rounded to nearest even, for at most kMostPlanes channels: for CPUs with
// AVX-512 BF16.
void planes_to_pixels(int64_t batch, int64_t channels, int64_t pixels, const float* x, bf16* y, ThreadPool& pool);

}  // namespace hone::cpu
