// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Folds of rows and columns, compiled once per tier.
#pragma once

#include "kernels/cpu/reduce/steps.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int64_t kTerms = 32;  // an fp32 accumulator takes in before it goes to a double

HONE_INLINE float one(float x) { return x; }
HONE_INLINE float one(bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }

template <Fold kFold>
HONE_INLINE V fold_start() {
  if constexpr (kFold == Fold::max) return -math::infinity();
  if constexpr (kFold == Fold::min) return math::infinity();
  if constexpr (kFold == Fold::product) return set1(1.f);
  return zero();
}
template <Fold kFold>
HONE_INLINE V fold_step(V acc, V x, V shift) {
  if constexpr (kFold == Fold::sum) return acc + x;
  if constexpr (kFold == Fold::sum_abs) return acc + abs(x);
  if constexpr (kFold == Fold::sum_square) return fma(x, x, acc);
  if constexpr (kFold == Fold::sum_exp) return acc + math::exp(x - shift);
  if constexpr (kFold == Fold::max) return math::maximum(acc, x);
  if constexpr (kFold == Fold::min) return math::minimum(acc, x);
  return acc * x;
}
// A partial result, or one value for product, into the double.
template <Fold kFold>
HONE_INLINE double fold_double(double acc, double v) {
  if constexpr (kFold == Fold::product) return acc * v;
  if constexpr (kFold == Fold::max) return v > acc || v != v ? v : acc;
  if constexpr (kFold == Fold::min) return v < acc || v != v ? v : acc;
  return acc + v;
}

template <Fold kFold>
double fold_row(const Stored* x, int64_t n, float shift, double acc) {
  if constexpr (kFold == Fold::product) {
    for (int64_t i = 0; i < n; ++i) acc *= static_cast<double>(one(x[i]));
    return acc;
  }
  const V s = set1(shift);
  int64_t i = 0;
  while (i + kLanes <= n) {
    V a = fold_start<kFold>(), b = a;
    const int64_t limit = i + 2 * kTerms * kLanes < n ? i + 2 * kTerms * kLanes : n;
    for (; i + 2 * kLanes <= limit; i += 2 * kLanes) {
      a = fold_step<kFold>(a, load(x + i), s);
      b = fold_step<kFold>(b, load(x + i + kLanes), s);
    }
    for (; i + kLanes <= limit; i += kLanes) a = fold_step<kFold>(a, load(x + i), s);
    for (int k = 0; k < kLanes; ++k) {
      acc = fold_double<kFold>(acc, static_cast<double>(a[k]));
      acc = fold_double<kFold>(acc, static_cast<double>(b[k]));
    }
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const V a = fold_step<kFold>(fold_start<kFold>(), load_n(x + i, rest), s);
    for (int k = 0; k < rest; ++k) acc = fold_double<kFold>(acc, static_cast<double>(a[k]));
  }
  return acc;
}

template <Fold kFold>
void fold_columns(const Stored* x, int64_t rows, int64_t stride, int64_t width, const float* shift, double* acc) {
  for (int64_t c = 0; c < width; c += kLanes) {
    const int n = static_cast<int>(width - c < kLanes ? width - c : kLanes);
    const V s = shift != nullptr ? load_n(shift + c, n) : zero();
    constexpr int64_t kStep = kFold == Fold::product ? 1 : kTerms;
    for (int64_t r = 0; r < rows;) {
      const int64_t end = r + kStep < rows ? r + kStep : rows;
      V a = fold_start<kFold>();
      for (; r < end; ++r) {
        const Stored* p = x + r * stride + c;
        a = fold_step<kFold>(a, n == kLanes ? load(p) : load_n(p, n), s);
      }
      for (int k = 0; k < n; ++k) acc[c + k] = fold_double<kFold>(acc[c + k], static_cast<double>(a[k]));
    }
  }
}

// Value by value: rows are too short for vectors.
template <Fold kFold>
void fold_short_rows(const Stored* x, int64_t rows, int64_t n, double* acc) {
  for (int64_t r = 0; r < rows; ++r, x += n)
    for (int64_t i = 0; i < n; ++i) {
      const double v = static_cast<double>(one(x[i]));
      acc[r] = fold_double<kFold>(acc[r], kFold == Fold::sum_abs      ? __builtin_fabs(v)
                                          : kFold == Fold::sum_square ? v * v
                                                                      : v);
    }
}

#define HONE_FOLDS(CALL)                                  \
  switch (fold) {                                         \
    case Fold::sum: return CALL(Fold::sum);               \
    case Fold::sum_abs: return CALL(Fold::sum_abs);       \
    case Fold::sum_square: return CALL(Fold::sum_square); \
    case Fold::sum_exp: return CALL(Fold::sum_exp);       \
    case Fold::product: return CALL(Fold::product);       \
    case Fold::max: return CALL(Fold::max);               \
    case Fold::min: return CALL(Fold::min);               \
  }

static double reduce_row(Fold fold, const Stored* x, int64_t n, float shift, double acc) {
#define HONE_CALL(F) fold_row<F>(x, n, shift, acc)
  HONE_FOLDS(HONE_CALL)
#undef HONE_CALL
  return acc;
}
static void reduce_columns(Fold fold, const Stored* x, int64_t rows, int64_t stride, int64_t width, const float* shift,
                           double* acc) {
#define HONE_CALL(F) fold_columns<F>(x, rows, stride, width, shift, acc)
  HONE_FOLDS(HONE_CALL)
#undef HONE_CALL
}
static void reduce_short_rows(Fold fold, const Stored* x, int64_t rows, int64_t n, double* acc) {
#define HONE_CALL(F) fold_short_rows<F>(x, rows, n, acc)
  HONE_FOLDS(HONE_CALL)
#undef HONE_CALL
}
#undef HONE_FOLDS

extern const ReduceKernels<Stored> kReduceKernels;
const ReduceKernels<Stored> kReduceKernels{reduce_row, reduce_columns, reduce_short_rows};

}  // namespace hone::cpu::HONE_TIER_NS
