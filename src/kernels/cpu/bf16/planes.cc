#include "kernels/cpu/bf16/planes.h"

#include <algorithm>

#include "kernels/cpu/bf16/rows.h"
#include "kernels/cpu/copy/strides.h"

namespace hone::cpu {
namespace {

constexpr int64_t kBlock = 256;       // pixels, so that those written for one channel are in L1 for the next
constexpr int64_t kGrain = 16 << 10;  // values that justify a task

}  // namespace

void planes_to_pixels(int64_t batch, int64_t channels, int64_t pixels, const float* x, bf16* y, ThreadPool& pool) {
  const int64_t blocks = (pixels + kBlock - 1) / kBlock, units = batch * blocks;
  const int64_t tasks = std::min(units, task_count(batch * channels * pixels, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const int64_t image = u / blocks, first = u % blocks * kBlock, count = std::min(kBlock, pixels - first);
      bf16* const to = y + (image * pixels + first) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        bf16 line[kBlock];
        avx512_bf16::narrow_row(x + (image * channels + c) * pixels + first, count, line);
        for (int64_t i = 0; i < count; ++i) to[i * channels + c] = line[i];
      }
    }
  });
}

}  // namespace hone::cpu
