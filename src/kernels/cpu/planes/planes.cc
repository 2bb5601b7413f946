#include "kernels/cpu/planes/planes.h"

#include <algorithm>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/planes/planes_kernel.h"

namespace hone::cpu {

namespace scalar {
extern const QuantizePixelsFn kQuantizePixels;
}
namespace avx2 {
extern const QuantizePixelsFn kQuantizePixels;
}
namespace avx512 {
extern const QuantizePixelsFn kQuantizePixels;
}
namespace avx512_bf16 {
extern const NarrowPixelsFn kNarrowPixels;
}

namespace {

constexpr int64_t kBlock = 256;       // pixels, so that those written for one channel are in L1 for the next
constexpr int64_t kGrain = 16 << 10;  // values that justify a task

template <class T, class F>
void each_run(const PlanesShape& s, const float* x, T* y, ThreadPool& pool, F convert) {
  const int64_t blocks = (s.pixels + kBlock - 1) / kBlock, units = s.batch * blocks;
  const int64_t tasks = std::min(units, task_count(s.batch * s.channels * s.pixels, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const int64_t image = u / blocks, first = u % blocks * kBlock;
      convert(PixelRun{.x = x + image * s.channels * s.pixels + first,
                       .plane = s.pixels,
                       .channels = s.channels,
                       .count = std::min(kBlock, s.pixels - first)},
              y + (image * s.pixels + first) * s.channels);
    }
  });
}

}  // namespace

void planes_to_pixels(const PlanesShape& shape, const float* x, bf16* y, ThreadPool& pool) {
  each_run(shape, x, y, pool, avx512_bf16::kNarrowPixels);
}

void planes_to_pixels(const PlanesShape& shape, const Quantizer& by, const float* x, int8_t* y, Tier tier,
                      ThreadPool& pool) {
  const QuantizePixelsFn quantize = tier == Tier::avx512 ? avx512::kQuantizePixels
                                    : tier == Tier::avx2 ? avx2::kQuantizePixels
                                                         : scalar::kQuantizePixels;
  each_run(shape, x, y, pool, [&](const PixelRun& run, int8_t* to) { quantize(run, by, to); });
}

}  // namespace hone::cpu
