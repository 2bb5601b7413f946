#include "kernels/cpu/quantize/dynamic.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/quantize/dynamic_kernel.h"

namespace hone::cpu {

namespace scalar {
extern const DynamicKernel kDynamic;
}
namespace avx2 {
extern const DynamicKernel kDynamic;
}
namespace avx512 {
extern const DynamicKernel kDynamic;
}

namespace {

constexpr int64_t kGrain = 4 << 10;  // values that justify a task

const DynamicKernel& kernel_of(Tier tier) {
  return tier == Tier::avx512 ? avx512::kDynamic : tier == Tier::avx2 ? avx2::kDynamic : scalar::kDynamic;
}

}  // namespace

DynamicScale dynamic_scale(float low, float high) {
  const float range = high - low;
  const float scale = range == 0 ? 1.f : range / 255, offset = -low / scale;
  if (std::isnan(offset)) return {scale, 0};
  return {scale, static_cast<uint8_t>(std::nearbyint(std::clamp(offset, 0.f, 255.f)))};
}

int64_t dynamic_quantize_workspace_bytes(int threads) { return threads * static_cast<int64_t>(sizeof(ValueRange)); }

DynamicScale dynamic_quantize(const float* x, int64_t n, Tier tier, uint8_t* y, void* workspace, ThreadPool& pool) {
  const DynamicKernel& kernel = kernel_of(tier);
  const int64_t tasks = task_count(n, kGrain, pool.size());
  auto* ranges = static_cast<ValueRange*>(workspace);
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(n, t, tasks);
    ranges[t] = kernel.range(x + part.begin, part.end - part.begin);
  });
  ValueRange all;
  for (int64_t t = 0; t < tasks; ++t) {
    if (!(ranges[t].low >= all.low) && !std::isnan(all.low)) all.low = ranges[t].low;
    if (!(ranges[t].high <= all.high) && !std::isnan(all.high)) all.high = ranges[t].high;
  }
  const DynamicScale by = dynamic_scale(all.low, all.high);
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(n, t, tasks);
    kernel.quantize(x + part.begin, part.end - part.begin, by, y + part.begin);
  });
  return by;
}

}  // namespace hone::cpu
