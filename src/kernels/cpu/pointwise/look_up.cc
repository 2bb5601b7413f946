#include "kernels/cpu/pointwise/look_up.h"

#include <algorithm>

namespace hone::cpu {
namespace {

constexpr int64_t kTask = 16384;  // elements

template <class T>
void look_up_all(const uint8_t* x, int64_t n, const T* table, T* y, ThreadPool& pool) {
  pool.parallel((n + kTask - 1) / kTask, [&](int64_t task, int) {
    const int64_t end = std::min(n, (task + 1) * kTask);
    for (int64_t i = task * kTask; i < end; ++i) y[i] = table[x[i]];
  });
}

}  // namespace

void look_up(const uint8_t* x, int64_t n, const void* table, size_t entry_bytes, void* y, ThreadPool& pool) {
  if (entry_bytes == 1) look_up_all(x, n, static_cast<const uint8_t*>(table), static_cast<uint8_t*>(y), pool);
  else look_up_all(x, n, static_cast<const uint32_t*>(table), static_cast<uint32_t*>(y), pool);
}

}  // namespace hone::cpu
