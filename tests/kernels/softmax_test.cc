// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/softmax/softmax.h"

#include "kernel_testing.h"
#include "kernels/cpu/bf16/bf16.h"

namespace hone::cpu {
namespace {

TEST(Softmax, MatchesDoubles) {
  const SoftmaxProblem problems[] = {{3, 1, 1}, {5, 7, 1}, {2, 128, 1}, {1, 30522, 1}, {20, 1000, 1},
                                     {2, 10, 7}, {3, 21, 64}, {1, 300, 130}, {0, 4, 1}, {4, 0, 1}};
  for (SoftmaxProblem p : problems) {
    for (bool log : {false, true}) {
      p.log = log;
      const auto x = random_floats(p.outer * p.length * p.inner, 5, -20, 20);
      for (Tier tier : tiers()) {
        for (int threads : {1, 2}) {
          ThreadPool pool(threads);
          std::vector<float> y = x;
          softmax(p, tier, y.data(), y.data(), pool);
          for (int64_t o = 0; o < p.outer; ++o) {
            for (int64_t i = 0; i < p.inner && p.length > 0; ++i) {
              const auto at = [&](int64_t k) { return static_cast<size_t>((o * p.length + k) * p.inner + i); };
              double top = -INFINITY, sum = 0;
              for (int64_t k = 0; k < p.length; ++k) top = std::max<double>(top, x[at(k)]);
              for (int64_t k = 0; k < p.length; ++k) sum += std::exp(x[at(k)] - top);
              for (int64_t k = 0; k < p.length; ++k) {
                const double want = log ? x[at(k)] - top - std::log(sum) : std::exp(x[at(k)] - top) / sum;
                EXPECT_NEAR(y[at(k)], want, log ? 4e-6 : (4e-7 + 1e-7 * std::fabs(x[at(k)] - top)) * want + 1e-30);
              }
            }
          }
        }
      }
    }
  }
}

// In bf16 results differ from those of fp32 by a rounding, of up to 2^-8.
TEST(Softmax, TensorsInBf16) {
  if (!has_bf16_set(Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  for (SoftmaxProblem p : {SoftmaxProblem{5, 7, 1}, {3, 1000, 1}, {2, 10, 7}, {1, 300, 130}})
    for (const bool log : {false, true})
      for (const int threads : {1, 2}) {
        p.log = log;
        const auto x = random_floats(p.outer * p.length * p.inner, 5, -20, 20);
        std::vector<bf16> stored;
        std::vector<float> wide;
        for (const float v : x) stored.push_back(to_bf16(v)), wide.push_back(to_float(stored.back()));
        ThreadPool pool(threads);
        softmax(p, Tier::avx512, stored.data(), stored.data(), pool);
        softmax(p, Tier::avx512, wide.data(), wide.data(), pool);
        for (size_t i = 0; i < x.size(); ++i)
          ASSERT_NEAR(to_float(stored[i]), wide[i], 1.01 * 0x1p-8 * std::fabs(wide[i]) + 1e-37) << i;
      }
}

TEST(Softmax, Infinities) {
  for (Tier tier : tiers()) {
    ThreadPool pool(1);
    float x[3] = {-INFINITY, 0, -INFINITY}, y[3];
    softmax({1, 3, 1}, tier, x, y, pool);
    EXPECT_EQ(y[0], 0.f);
    EXPECT_EQ(y[1], 1.f);
    x[2] = NAN;
    softmax({1, 3, 1}, tier, x, y, pool);
    EXPECT_TRUE(std::isnan(y[1]));
  }
}

}  // namespace
}  // namespace hone::cpu
