#pragma once

#include <cstddef>

namespace hone {

// Drops memory from all of the CPU's caches, where the instruction set can; its contents stay.
void evict(const void* memory, size_t bytes);

}  // namespace hone
