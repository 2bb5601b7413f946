// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gather/gather.h"

#include <atomic>
#include <cstring>

#include "kernels/cpu/copy/strides.h"

namespace hone::cpu {
namespace {

constexpr int64_t kGrain = 64 << 10;  // bytes that justify a task

// False when an index is out of range. kBytes is the slice size when it is known, else 0.
template <int64_t kBytes, class Index>
bool gather_part(const GatherProblem& p, const char* x, const Index* indices, char* y, Part part) {
  const int64_t bytes = kBytes > 0 ? kBytes : p.slice_bytes;
  int64_t o = part.begin / p.count, k = part.begin % p.count;
  for (int64_t u = part.begin; u < part.end; ++u) {
    int64_t i = static_cast<int64_t>(indices[k]);
    if (i < 0) i += p.extent;
    if (i < 0 || i >= p.extent) return false;
    std::memcpy(y + u * bytes, x + (o * p.extent + i) * bytes, static_cast<size_t>(bytes));
    if (++k == p.count) k = 0, ++o;
  }
  return true;
}

template <class Index>
bool dispatch_part(const GatherProblem& p, const char* x, const Index* indices, char* y, Part part) {
  switch (p.slice_bytes) {
    case 1: return gather_part<1>(p, x, indices, y, part);
    case 2: return gather_part<2>(p, x, indices, y, part);
    case 4: return gather_part<4>(p, x, indices, y, part);
    case 8: return gather_part<8>(p, x, indices, y, part);
    default: return gather_part<0>(p, x, indices, y, part);
  }
}

}  // namespace

const char* gather_supports(const GatherProblem& p) {
  return p.outer < 0 || p.extent < 0 || p.slice_bytes < 0 || p.count < 0 ? "a negative extent" : nullptr;
}

const char* gather(const GatherProblem& p, const void* x, const void* indices, void* y, ThreadPool& pool) {
  const int64_t units = p.outer * p.count;
  const int64_t tasks = std::min(units, task_count(units * (p.slice_bytes + 16), kGrain, pool.size()));
  std::atomic<bool> good{true};
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    const char* from = static_cast<const char*>(x);
    char* to = static_cast<char*>(y);
    const bool ok = p.wide_indices ? dispatch_part(p, from, static_cast<const int64_t*>(indices), to, part)
                                   : dispatch_part(p, from, static_cast<const int32_t*>(indices), to, part);
    if (!ok) good.store(false, std::memory_order_relaxed);
  });
  return good.load() ? nullptr : "a gather index is out of range";
}

}  // namespace hone::cpu
