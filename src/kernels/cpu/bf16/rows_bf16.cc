#include "kernels/cpu/bf16/rows.h"

#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

template <class From, class To>
HONE_INLINE void convert(const From* x, int64_t count, To* y) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load(x + i));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_n(y + i, load_n(x + i, rest), rest);
}

}  // namespace

void widen_row(const bf16* x, int64_t count, float* y) { convert(x, count, y); }
void narrow_row(const float* x, int64_t count, bf16* y) { convert(x, count, y); }

}  // namespace hone::cpu::HONE_TIER_NS
