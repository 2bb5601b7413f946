#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"

namespace hone::cpu {

// y[i] = table[x[i]] for n elements; the table has 256 entries of 1 or 4 bytes. y may be x where they have 1.
void look_up(const uint8_t* x, int64_t n, const void* table, size_t entry_bytes, void* y, ThreadPool& pool);

}  // namespace hone::cpu
