// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// What the tests of CPU kernels share.
#pragma once

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/thread_pool.h"

namespace hone::cpu {

// All that this CPU can run.
inline std::vector<Tier> tiers() {
  std::vector<Tier> all;
  for (int t = 0; t <= static_cast<int>(best_tier()); ++t) all.push_back(static_cast<Tier>(t));
  return all;
}

inline std::vector<float> random_floats(int64_t n, unsigned seed = 1, float low = -2.f, float high = 2.f) {
  std::mt19937 gen(seed);
  std::uniform_real_distribution<float> dist(low, high);
  std::vector<float> v(static_cast<size_t>(n));
  for (auto& x : v) x = dist(gen);
  return v;
}

inline int64_t product(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

inline std::vector<int64_t> dense(const std::vector<int64_t>& dims) {
  std::vector<int64_t> s(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;) s[d - 1] = s[d] * dims[d];
  return s;
}

// Calls f with every multi-index in row-major order.
template <class F>
void for_each_index(const std::vector<int64_t>& dims, F f) {
  std::vector<int64_t> at(dims.size(), 0);
  for (int64_t i = 0; i < product(dims); ++i) {
    f(at);
    for (size_t d = dims.size(); d-- > 0;) {
      if (++at[d] < dims[d]) break;
      at[d] = 0;
    }
  }
}

// How many fp32 steps `got` is away from the exact value; 0 for equal infinities and for two NaNs.
inline double ulps(float got, double want) {
  const auto rounded = static_cast<float>(want);
  if (std::isnan(want) || std::isinf(rounded) || std::isinf(got) || std::isnan(got))
    return (std::isnan(got) && std::isnan(want)) || got == rounded ? 0 : 1e9;
  const float size = std::max(std::fabs(rounded), FLT_MIN);
  return std::fabs(got - want) / (std::nextafter(size, INFINITY) - size);
}

inline std::vector<bf16> in_bf16(const std::vector<float>& values) {
  std::vector<bf16> result;
  for (float v : values) result.push_back(to_bf16(static_cast<double>(v)));
  return result;
}
inline std::vector<float> in_f32(const std::vector<bf16>& values) {
  std::vector<float> result;
  for (bf16 v : values) result.push_back(to_float(v));
  return result;
}

// What rounding to bf16 adds to the error of a result near `want`: half a unit of 8 significant bits.
inline double bf16_rounding(double want, double error) { return 0x1p-8 * 1.01 * (std::fabs(want) + error); }

inline double largest_magnitude(const std::vector<bf16>& values) {
  double largest = 0;
  for (bf16 v : values) largest = std::max(largest, static_cast<double>(std::fabs(to_float(v))));
  return largest;
}

// Memory of exactly the size a kernel asked for, so that ASan sees what goes beyond it; NaN until it is written.
class Workspace {
 public:
  explicit Workspace(size_t bytes) : memory_(::operator new(bytes, kLine)) { std::memset(memory_.get(), 0xff, bytes); }
  void* get() const { return memory_.get(); }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(void* memory) const { ::operator delete(memory, kLine); }
  };
  std::unique_ptr<void, Free> memory_;
};

}  // namespace hone::cpu
