#include "tune/evict.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace hone {

void evict([[maybe_unused]] const void* memory, [[maybe_unused]] size_t bytes) {
#if defined(__x86_64__)
  constexpr size_t kLine = 64;
  for (size_t at = 0; at < bytes; at += kLine) _mm_clflush(static_cast<const char*>(memory) + at);
  _mm_mfence();
#endif
}

}  // namespace hone
