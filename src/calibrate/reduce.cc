#include "calibrate/reduce.h"

#include "base/cpu_info.h"

namespace hone::calibrate {

namespace scalar {
extern const ReduceKernels kReduceKernels;
}
namespace avx2 {
extern const ReduceKernels kReduceKernels;
}
namespace avx512 {
extern const ReduceKernels kReduceKernels;
}

namespace {

const ReduceKernels& kernels() {
  static const ReduceKernels* const kByTier[] = {&scalar::kReduceKernels, &avx2::kReduceKernels,
                                                 &avx512::kReduceKernels};
  return *kByTier[static_cast<int>(cpu::best_tier())];
}

}  // namespace

Total reduce_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, const ChannelTotals& out) {
  return kernels().channels(x, outer, channels, inner, out);
}

int64_t bins_of(const float* x, int64_t n, float scale, int32_t* bins) { return kernels().bins(x, n, scale, bins); }

}  // namespace hone::calibrate
