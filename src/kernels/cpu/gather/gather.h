// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// y[o][k] = x[o][indices[k]]: slices of any element type along one axis; embedding lookups.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace hone::cpu {

struct GatherProblem {
  int64_t outer = 1;        // product of the dims before the axis
  int64_t extent = 1;       // of the axis
  int64_t slice_bytes = 1;  // of the dims after it
  int64_t count = 1;        // indices
  bool wide_indices = true;  // i64, else i32; negative ones count from the end
};

const char* gather_supports(const GatherProblem& p);

// Null, or what was wrong with an index (y is then incomplete). No workspace.
const char* gather(const GatherProblem& p, const void* x, const void* indices, void* y, ThreadPool& pool);

}  // namespace hone::cpu
