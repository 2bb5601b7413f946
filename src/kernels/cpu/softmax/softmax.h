// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 softmax and log-softmax along one axis of [outer, length, inner]; inner is 1 for the last axis.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_info.h"
#include "base/thread_pool.h"

namespace hone::cpu {

struct SoftmaxProblem {
  int64_t outer = 1, length = 1, inner = 1;
  bool log = false;
};

const char* softmax_supports(const SoftmaxProblem& p);

// No workspace; y may be x. A row of only -infinity gives NaN, as the definition does.
void softmax(const SoftmaxProblem& p, Tier tier, const float* x, float* y, ThreadPool& pool);

}  // namespace hone::cpu
