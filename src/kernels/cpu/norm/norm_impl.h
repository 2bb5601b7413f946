// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Row and band kernels of the norms, compiled once per tier.
#pragma once

#include "kernels/cpu/norm/rows.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

// The sum of f(x) in double, fed by fp32 sums of at most 32 terms a lane.
template <class F>
HONE_INLINE double block_sum(const Stored* x, int64_t n, F f) {
  constexpr int64_t kBlock = 64 * kLanes;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    V a = zero(), b = zero();
    int64_t i = begin;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      a += f(load(x + i));
      b += f(load(x + i + kLanes));
    }
    total += sum_lanes(a + b);
    for (; i < end; i += kLanes) {
      const int rest = static_cast<int>(end - i < kLanes ? end - i : kLanes);
      const V v = f(load_n(x + i, rest));
      for (int k = 0; k < rest; ++k) total += static_cast<double>(v[k]);
    }
  }
  return total;
}

static void norm_row(NormRow<Stored>& r) {
  const int64_t n = r.length;
  double mean = 0;
  if (!r.rms) mean = block_sum(r.x, n, [](V v) { return v; }) / static_cast<double>(n);
  const V m = set1(static_cast<float>(mean));
  const double square = block_sum(r.x, n, [=](V v) { return (v - m) * (v - m); }) / static_cast<double>(n);
  // m is the mean rounded to fp32, which shifts the variance by the square of the rounding.
  const double off = mean - static_cast<double>(static_cast<float>(mean));
  const double inverse = 1 / __builtin_sqrt(square - off * off + static_cast<double>(r.epsilon));
  r.mean = static_cast<float>(mean);
  r.inverse_deviation = static_cast<float>(inverse);
  const V k = set1(r.inverse_deviation);
  const auto at = [&](int64_t i, auto get, auto put) {
    V v = (get(r.x + i) - m) * k;
    if (r.scale != nullptr) v = r.bias != nullptr ? fma(v, get(r.scale + i), get(r.bias + i)) : v * get(r.scale + i);
    else if (r.bias != nullptr) v += get(r.bias + i);
    put(r.y + i, v);
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    at(
        i, [](const auto* p) { return load(p); }, [](Stored* p, V v) { store(p, v); });
  const int rest = static_cast<int>(n - i);
  if (rest > 0)
    at(
        i, [=](const auto* p) { return load_n(p, rest); }, [=](Stored* p, V v) { store_n(p, v, rest); });
}

static void band_sums(const NormBand<Stored>& b, const Stored* shift, double* sum, double* squares) {
  constexpr int64_t kRun = 32;
  for (int64_t c = 0; c < b.channels; c += kLanes) {
    const int n = static_cast<int>(b.channels - c < kLanes ? b.channels - c : kLanes);
    const V base = load_n(shift + c, n);
    for (int64_t p0 = 0; p0 < b.pixels; p0 += kRun) {
      const int64_t p1 = p0 + kRun < b.pixels ? p0 + kRun : b.pixels;
      V s = zero(), q = zero();
      for (int64_t p = p0; p < p1; ++p) {
        const Stored* x = b.x + p * b.in_ldc + c;
        const V v = (n == kLanes ? load(x) : load_n(x, n)) - base;
        s += v;
        q = fma(v, v, q);
      }
      for (int i = 0; i < n; ++i) {
        sum[c + i] += static_cast<double>(s[i]);
        squares[c + i] += static_cast<double>(q[i]);
      }
    }
  }
}

static void band_apply(const NormBand<Stored>& b, const float* factor, const float* offset) {
  for (int64_t p = 0; p < b.pixels; ++p) {
    const Stored* x = b.x + p * b.in_ldc;
    Stored* y = b.y + p * b.out_ldc;
    int64_t c = 0;
    for (; c + kLanes <= b.channels; c += kLanes) store(y + c, fma(load(x + c), load(factor + c), load(offset + c)));
    const int n = static_cast<int>(b.channels - c);
    if (n > 0) store_n(y + c, fma(load_n(x + c, n), load_n(factor + c, n), load_n(offset + c, n)), n);
  }
}

extern const NormKernels<Stored> kNormKernels;
const NormKernels<Stored> kNormKernels{norm_row, band_sums, band_apply};

}  // namespace hone::cpu::HONE_TIER_NS
