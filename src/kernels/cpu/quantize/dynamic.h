// Quantisation to u8 by the range of the values themselves: one pass finds the range, a second one quantises.
#pragma once

#include "base/cpu_info.h"
#include "base/thread_pool.h"

namespace hone::cpu {

struct DynamicScale {
  float scale = 1;
  uint8_t zero = 0;
};

// Where u8 just holds the values from `low` to `high`, 0 among them: scale = (high - low) / 255, 1 where that is 0;
// zero = round(clip(-low / scale, 0, 255)). A bound that is NaN makes the scale NaN and zero 0.
DynamicScale dynamic_scale(float low, float high);

int64_t dynamic_quantize_workspace_bytes(int threads);
// y = clip(round(x / scale) + zero, 0, 255), 0 where that is NaN, for n >= 0 values that do not overlap. The workspace
// is for as many threads as the pool has.
DynamicScale dynamic_quantize(const float* x, int64_t n, Tier tier, uint8_t* y, void* workspace, ThreadPool& pool);

}  // namespace hone::cpu
