// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Rows and columns of a softmax, compiled once per tier.
#pragma once

#include <type_traits>

#include "kernels/cpu/simd_math.h"
#include "kernels/cpu/softmax/rows.h"

namespace hone::cpu::HONE_TIER_NS {

HONE_INLINE float largest_lane(V v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m || v[i] != v[i] ? v[i] : m;
  return m;
}

// Whether y can hold e^(x - m) until it is divided by the sum; rounded to bf16, it is computed again instead.
constexpr bool kHolds = std::is_same_v<Stored, float>;

constexpr int64_t kSumBlock = 64 * kLanes;  // values that partial fp32 sums take in before they go to a double

// The sum of e^(x - m), which y is, too, where it is to keep that.
static double exp_and_sum(const Stored* x, Stored* y, int64_t n, V m, bool keep) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = begin + kSumBlock < n ? begin + kSumBlock : n;
    V sum = zero();
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const V e = math::exp(load(x + i) - m);
      if (keep) store(y + i, e);
      sum += e;
    }
    total += sum_lanes(sum);
    if (i < end) {
      const int rest = static_cast<int>(end - i);
      const V e = math::exp(load_n(x + i, rest) - m);
      if (keep) store_n(y + i, e, rest);
      for (int k = 0; k < rest; ++k) total += static_cast<double>(e[k]);
    }
  }
  return total;
}

template <class F>
HONE_INLINE void map_row(const Stored* x, Stored* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_n(y + i, f(load_n(x + i, static_cast<int>(n - i))), static_cast<int>(n - i));
}

static void softmax_row(const Stored* x, Stored* y, int64_t n, bool log) {
  V best = -math::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = math::maximum(best, load(x + i));
  float m = largest_lane(best);
  for (; i < n; ++i)
    if (const float v = in_f32(x[i]); v > m || v != v) m = v;
  const V top = set1(m);
  const double sum = exp_and_sum(x, y, n, top, !log && kHolds);
  if (log) {
    const V shift = set1(static_cast<float>(::log(sum)));
    map_row(x, y, n, [=](V v) { return (v - top) - shift; });
  } else {
    const V scale = set1(static_cast<float>(1 / sum));
    map_row(kHolds ? y : x, y, n, [=](V v) { return (kHolds ? v : math::exp(v - top)) * scale; });
  }
}

static void softmax_columns(const Stored* x, Stored* y, int64_t length, int64_t stride, int64_t width, bool log) {
  for (int64_t c = 0; c < width; c += kLanes) {
    const int n = static_cast<int>(c + kLanes <= width ? kLanes : width - c);
    V best = -math::infinity();
    for (int64_t i = 0; i < length; ++i) best = math::maximum(best, load_part(x + i * stride + c, n));
    V sum = zero(), lost = zero();  // compensated, as there may be many rows
    for (int64_t i = 0; i < length; ++i) {
      const V e = math::exp(load_part(x + i * stride + c, n) - best);
      if (!log && kHolds) store_part(y + i * stride + c, e, n);
      const V term = e - lost, next = sum + term;
      lost = (next - sum) - term;
      sum = next;
    }
    const V factor = log ? math::log(sum) : set1(1.f) / sum;
    for (int64_t i = 0; i < length; ++i) {
      const V v = load_part((log || !kHolds ? x : y) + i * stride + c, n);
      store_part(y + i * stride + c, log ? (v - best) - factor : (kHolds ? v : math::exp(v - best)) * factor, n);
    }
  }
}

extern const SoftmaxKernels<Stored> kSoftmaxKernels;
const SoftmaxKernels<Stored> kSoftmaxKernels{softmax_row, softmax_columns};

}  // namespace hone::cpu::HONE_TIER_NS
