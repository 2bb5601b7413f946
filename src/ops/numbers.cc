#include "ops/numbers.h"

#include <algorithm>

namespace hone {
namespace {

constexpr int64_t kColumns = 128;  // a block of c and b rows that stays in cache

template <class T>
void blocked(const T* a, const T* b, T* c, int64_t m, int64_t k, int64_t n) {
  for (int64_t from = 0; from < n; from += kColumns) {
    const int64_t width = std::min(kColumns, n - from);
    for (int64_t i = 0; i < m; ++i) {
      T* out = c + i * n + from;
      for (int64_t j = 0; j < k; ++j) {
        const T factor = a[i * k + j];
        const T* row = b + j * n + from;
        for (int64_t x = 0; x < width; ++x) out[x] += factor * row[x];
      }
    }
  }
}

}  // namespace

void multiply_add(const double* a, const double* b, double* c, int64_t m, int64_t k, int64_t n) {
  blocked(a, b, c, m, k, n);
}

// Unsigned, because signed overflow is undefined.
void multiply_add(const int64_t* a, const int64_t* b, int64_t* c, int64_t m, int64_t k, int64_t n) {
  blocked(reinterpret_cast<const uint64_t*>(a), reinterpret_cast<const uint64_t*>(b), reinterpret_cast<uint64_t*>(c), m,
          k, n);
}

}  // namespace hone
