// Exact sums of i8 along the middle of [outer, length, inner].
#pragma once

#include "base/cpu_info.h"
#include "base/thread_pool.h"

namespace hone::cpu {

struct ByteSumsProblem {
  int64_t outer = 1, length = 1, inner = 1;
};

// Why the sums may not fit in i32, or null.
const char* byte_sums_supports(const ByteSumsProblem& p);
// y: [outer, inner]. No workspace.
void byte_sums(const ByteSumsProblem& p, Tier tier, const int8_t* x, int32_t* y, ThreadPool& pool);

// Of a tier: sums of the first `width` columns of one [length, inner], and of a row of n.
struct ByteSumsKernels {
  void (*columns)(const int8_t* x, int64_t length, int64_t inner, int64_t width, int32_t* y);
  int32_t (*row)(const int8_t* x, int64_t n);
};

}  // namespace hone::cpu
