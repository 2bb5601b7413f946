// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/resize/resize.h"

#include "kernel_testing.h"
#include "kernels/cpu/bf16/bf16.h"

namespace hone::cpu {
namespace {

std::vector<double> half_pixel(int64_t in, int64_t out, bool nearest) {
  std::vector<double> c;
  for (int64_t i = 0; i < out; ++i) {
    const double at = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    c.push_back(nearest ? std::ceil(at - 0.5) : at);
  }
  return c;
}

TEST(Resize, NearestAndLinear) {
  for (bool nearest : {true, false}) {
    for (int64_t channels : {1, 3, 8, 37}) {
      for (auto [oh, ow] : {std::pair<int64_t, int64_t>{14, 18}, {5, 30}, {7, 9}, {3, 4}}) {
        const ResizeProblem p{.batch = 2, .channels = channels, .in_height = 7, .in_width = 9, .in_ldc = channels + 1};
        const auto rows = half_pixel(7, oh, nearest), columns = half_pixel(9, ow, nearest);
        const auto x = random_floats(2 * 7 * 9 * p.in_ldc);
        for (Tier tier : tiers()) {
          const auto plan = ResizePlan::make(p, linear_taps(rows, 7), linear_taps(columns, 9), tier);
          ASSERT_TRUE(plan.ok());
          ThreadPool pool(2);
          std::vector<float> y(static_cast<size_t>(2 * oh * ow * channels));
          plan->run(x.data(), y.data(), pool);
          size_t i = 0;
          for_each_index({2, oh, ow, channels}, [&](const std::vector<int64_t>& at) {
            const double r = std::clamp(rows[static_cast<size_t>(at[1])], 0.0, 6.0),
                         c = std::clamp(columns[static_cast<size_t>(at[2])], 0.0, 8.0);
            const auto get = [&](double rr, double cc) {
              const int64_t row = std::min<int64_t>(static_cast<int64_t>(rr), 6),
                            column = std::min<int64_t>(static_cast<int64_t>(cc), 8);
              return static_cast<double>(x[static_cast<size_t>(((at[0] * 7 + row) * 9 + column) * p.in_ldc + at[3])]);
            };
            const double fr = r - std::floor(r), fc = c - std::floor(c);
            const double want = (get(r, c) * (1 - fc) + get(r, c + 1) * fc) * (1 - fr) +
                                (get(r + 1, c) * (1 - fc) + get(r + 1, c + 1) * fc) * fr;
            EXPECT_NEAR(y[i++], want, 1e-6);
          });
        }
      }
    }
  }
}

TEST(Resize, PixelsInBf16AreThoseOfFp32Rounded) {
  if (!has_bf16_set(Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  for (const bool nearest : {true, false})
    for (const int64_t channels : {1, 8, 37}) {
      const ResizeProblem p{.batch = 2, .channels = channels, .in_height = 7, .in_width = 9, .in_ldc = channels + 1};
      const auto plan = ResizePlan::make(p, linear_taps(half_pixel(7, 14, nearest), 7),
                                         linear_taps(half_pixel(9, 5, nearest), 9), Tier::avx512);
      ASSERT_TRUE(plan.ok());
      std::vector<float> x = random_floats(2 * 7 * 9 * p.in_ldc), y(static_cast<size_t>(2 * 14 * 5 * channels));
      std::vector<bf16> stored, got(y.size());
      for (float& v : x) stored.push_back(to_bf16(v)), v = to_float(stored.back());
      ThreadPool pool(2);
      plan->run(stored.data(), got.data(), pool);
      plan->run(x.data(), y.data(), pool);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(to_float(got[i]), to_float(to_bf16(y[i]))) << i;
    }
}

TEST(Resize, RefusesTapsOutside) {
  EXPECT_FALSE(ResizePlan::make({.in_height = 2, .in_width = 2}, {{0, 2, 0.5f}}, {{0, 0, 0}}).ok());
}

}  // namespace
}  // namespace hone::cpu
