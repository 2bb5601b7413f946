#include "kernels/cpu/reduce/byte_sums.h"

#include <algorithm>

#include "kernels/cpu/copy/strides.h"

namespace hone::cpu {

namespace scalar {
extern const ByteSumsKernels kByteSums;
}
namespace avx2 {
extern const ByteSumsKernels kByteSums;
}
namespace avx512 {
extern const ByteSumsKernels kByteSums;
}

namespace {

constexpr int64_t kGrain = 64 << 10;     // bytes that justify a task
constexpr int64_t kBand = 256;           // columns that are one unit of work
constexpr int64_t kMaxLength = 1 << 24;  // so many of -128 are -2^31

const ByteSumsKernels& kernels_of(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kByteSums;
    case Tier::avx2: return avx2::kByteSums;
    case Tier::scalar: break;
  }
  return scalar::kByteSums;
}

}  // namespace

const char* byte_sums_supports(const ByteSumsProblem& p) {
  return p.length > kMaxLength ? "more than 2^24 terms" : nullptr;
}

void byte_sums(const ByteSumsProblem& p, Tier tier, const int8_t* x, int32_t* y, ThreadPool& pool) {
  const ByteSumsKernels& kernels = kernels_of(tier);
  const int64_t bands = (p.inner + kBand - 1) / kBand, units = p.outer * bands;
  const int64_t tasks = std::min(units, task_count(p.outer * p.length * p.inner, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const int64_t item = u / bands, first = u % bands * kBand;
      const int8_t* from = x + item * p.length * p.inner + first;
      int32_t* to = y + item * p.inner + first;
      if (p.inner == 1) *to = kernels.row(from, p.length);
      else kernels.columns(from, p.length, p.inner, std::min(kBand, p.inner - first), to);
    }
  });
}

}  // namespace hone::cpu
