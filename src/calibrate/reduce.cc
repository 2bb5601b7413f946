#include "calibrate/reduce.h"

#include "base/cpu_info.h"

namespace hone::cpu {

namespace scalar {
extern const calibrate::ReduceChannels kReduceChannels;
}
namespace avx2 {
extern const calibrate::ReduceChannels kReduceChannels;
}
namespace avx512 {
extern const calibrate::ReduceChannels kReduceChannels;
}

}  // namespace hone::cpu

namespace hone::calibrate {

Total reduce_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, const ChannelTotals& out) {
  static const ReduceChannels kByTier[] = {cpu::scalar::kReduceChannels, cpu::avx2::kReduceChannels, cpu::avx512::kReduceChannels};
  return kByTier[static_cast<int>(cpu::best_tier())](x, outer, channels, inner, out);
}

}  // namespace hone::calibrate
