// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/norm/norm.h"

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

TEST(Norm, LayerAndRms) {
  for (int64_t length : {1, 3, 8, 37, 768, 5000}) {
    for (bool rms : {false, true}) {
      for (float low : {-1.f, 50.f}) {
        const LayerNormProblem p{.rows = 19, .length = length, .rms = rms};
        const auto x = random_floats(p.rows * length, 1, low, low + 2), scale = random_floats(length, 2),
                   bias = random_floats(length, 3);
        for (Tier tier : tiers()) {
          for (int threads : {1, 2}) {
            ThreadPool pool(threads);
            std::vector<float> y(x.size()), mean(19), inverse(19);
            layer_norm(p, tier, x.data(), scale.data(), bias.data(), y.data(), pool, {mean.data(), inverse.data()});
            for (int64_t r = 0; r < p.rows; ++r) {
              double m = 0, v = 0;
              const float* row = x.data() + r * length;
              for (int64_t i = 0; i < length && !rms; ++i) m += row[i] / static_cast<double>(length);
              for (int64_t i = 0; i < length; ++i) v += (row[i] - m) * (row[i] - m) / static_cast<double>(length);
              const double k = 1 / std::sqrt(v + static_cast<double>(p.epsilon));
              EXPECT_NEAR(mean[static_cast<size_t>(r)], m, 1e-5);
              EXPECT_NEAR(inverse[static_cast<size_t>(r)], k, 1e-5 * k);
              for (int64_t i = 0; i < length; ++i) {
                const auto c = static_cast<size_t>(i);
                // x - mean is exact to half a unit of the mean, which the division by the deviation magnifies.
                EXPECT_NEAR(y[static_cast<size_t>(r * length + i)], (row[i] - m) * k * scale[c] + bias[c],
                            2e-6 + 6e-8 * std::fabs(m) * k * 2);
              }
            }
          }
        }
      }
    }
  }
}

TEST(Norm, GroupAndInstance) {
  for (int64_t channels : {1, 6, 32, 74}) {
    for (int64_t groups : {int64_t{1}, int64_t{2}, channels}) {
      if (channels % groups != 0) continue;
      for (int64_t pixels : {1, 49, 3000}) {
        GroupNormProblem p{.batch = 2, .pixels = pixels, .channels = channels, .groups = groups};
        p.in_ldc = channels + 3;
        ASSERT_EQ(group_norm_supports(p), nullptr);
        const auto x = random_floats(2 * pixels * p.in_ldc, 4, 3, 5), scale = random_floats(channels, 2),
                   bias = random_floats(channels, 3);
        for (Tier tier : tiers()) {
          for (int threads : {1, 2}) {
            ThreadPool pool(threads);
            Workspace workspace(group_norm_workspace_bytes(p, threads));
            std::vector<float> y(static_cast<size_t>(2 * pixels * channels));
            group_norm(p, tier, x.data(), scale.data(), bias.data(), y.data(), workspace.get(), pool);
            const int64_t size = channels / groups;
            for (int64_t n = 0; n < 2; ++n) {
              for (int64_t g = 0; g < groups; ++g) {
                const auto at = [&](int64_t px, int64_t c) {
                  return static_cast<double>(x[static_cast<size_t>((n * pixels + px) * p.in_ldc + c)]);
                };
                double m = 0, v = 0;
                const auto count = static_cast<double>(size * pixels);
                for (int64_t px = 0; px < pixels; ++px)
                  for (int64_t c = g * size; c < (g + 1) * size; ++c) m += at(px, c) / count;
                for (int64_t px = 0; px < pixels; ++px)
                  for (int64_t c = g * size; c < (g + 1) * size; ++c) v += (at(px, c) - m) * (at(px, c) - m) / count;
                const double k = 1 / std::sqrt(v + static_cast<double>(p.epsilon));
                for (int64_t px = 0; px < pixels; ++px)
                  for (int64_t c = g * size; c < (g + 1) * size; ++c)
                    EXPECT_NEAR(y[static_cast<size_t>((n * pixels + px) * channels + c)],
                                (at(px, c) - m) * k * scale[static_cast<size_t>(c)] + bias[static_cast<size_t>(c)],
                                2e-6 + 1e-6 * std::fabs(m) * k);
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace hone::cpu
