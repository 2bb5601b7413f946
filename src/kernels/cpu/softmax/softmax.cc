// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/softmax/softmax.h"

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/softmax/rows.h"

namespace hone::cpu {

namespace scalar {
extern const SoftmaxKernels<float> kSoftmaxKernels;
}
namespace avx2 {
extern const SoftmaxKernels<float> kSoftmaxKernels;
}
namespace avx512 {
extern const SoftmaxKernels<float> kSoftmaxKernels;
}
namespace avx512_bf16 {
extern const SoftmaxKernels<bf16> kSoftmaxKernels;
}

namespace {

constexpr int64_t kGrain = 2 << 10;  // values that justify a task
constexpr int64_t kColumns = 64;     // columns that one unit of work takes

const SoftmaxKernels<float>& kernels_of(Tier tier, float) {
  switch (tier) {
    case Tier::avx512: return avx512::kSoftmaxKernels;
    case Tier::avx2: return avx2::kSoftmaxKernels;
    case Tier::scalar: break;
  }
  return scalar::kSoftmaxKernels;
}
const SoftmaxKernels<bf16>& kernels_of(Tier, bf16) { return avx512_bf16::kSoftmaxKernels; }

template <class T>
void run(const SoftmaxProblem& p, Tier tier, const T* x, T* y, ThreadPool& pool) {
  if (p.length == 0) return;
  const SoftmaxKernels<T>& k = kernels_of(tier, T());
  const int64_t bands = p.inner == 1 ? 1 : (p.inner + kColumns - 1) / kColumns, units = p.outer * bands;
  const int64_t tasks = std::min(units, task_count(p.outer * p.length * p.inner, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const int64_t column = u % bands * kColumns, at = u / bands * p.length * p.inner + column;
      if (p.inner == 1) k.row(x + at, y + at, p.length, p.log);
      else k.columns(x + at, y + at, p.length, p.inner, std::min(kColumns, p.inner - column), p.log);
    }
  });
}

}  // namespace

const char* softmax_supports(const SoftmaxProblem& p) {
  return p.outer < 0 || p.length < 0 || p.inner < 0 ? "a negative extent" : nullptr;
}

void softmax(const SoftmaxProblem& p, Tier tier, const float* x, float* y, ThreadPool& pool) {
  run(p, tier, x, y, pool);
}

void softmax(const SoftmaxProblem& p, Tier tier, const bf16* x, bf16* y, ThreadPool& pool) {
  run(p, tier, x, y, pool);
}

}  // namespace hone::cpu
