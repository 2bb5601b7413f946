// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Softmax and log-softmax along one axis of [outer, length, inner]; inner is 1 for the last axis. Computed in fp32; for
// bf16 in memory has_bf16_set(Bf16Set::avx512).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/thread_pool.h"

namespace hone::cpu {

struct SoftmaxProblem {
  int64_t outer = 1, length = 1, inner = 1;
  bool log = false;
};

const char* softmax_supports(const SoftmaxProblem& p);

// No workspace; y may be x. A row of only -infinity gives NaN, as the definition does.
void softmax(const SoftmaxProblem& p, Tier tier, const float* x, float* y, ThreadPool& pool);
void softmax(const SoftmaxProblem& p, Tier tier, const bf16* x, bf16* y, ThreadPool& pool);

}  // namespace hone::cpu
