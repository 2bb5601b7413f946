// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/pool/pool.h"

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

double reference(const PoolProblem& p, const std::vector<float>& x, int64_t ldc, const int64_t (&at)[3], int64_t n,
                 int64_t c) {
  double acc = p.kind == PoolKind::max ? -INFINITY : 0;
  int64_t count = 0;
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
    for (int64_t kh = 0; kh < p.kernel[1]; ++kh) {
      for (int64_t kw = 0; kw < p.kernel[2]; ++kw) {
        const int64_t k[3] = {kd, kh, kw};
        int64_t index = n;
        bool inside = true, padded = true;
        for (int d = 0; d < 3; ++d) {
          const int64_t i = at[d] * p.stride[d] - p.pads_begin[d] + k[d] * p.dilation[d];
          inside = inside && i >= 0 && i < p.in[d];
          padded = padded && i < p.in[d] + p.pads_end[d];
          index = index * p.in[d] + i;
        }
        count += p.count_include_pad ? padded : inside;
        if (!inside) continue;
        const double v = x[static_cast<size_t>(index * ldc + c)];
        acc = p.kind == PoolKind::max ? std::max(acc, v)
                                      : acc + (p.kind == PoolKind::l1   ? std::fabs(v)
                                               : p.kind == PoolKind::l2 ? v * v
                                                                        : v);
      }
    }
  }
  if (p.kind == PoolKind::average) return count > 0 ? acc / static_cast<double>(count) : 0;
  return p.kind == PoolKind::l2 ? std::sqrt(acc) : acc;
}

void check(PoolProblem p) {
  ASSERT_EQ(pool_supports(p), nullptr);
  const int64_t in_ldc = p.in_ldc > 0 ? p.in_ldc : p.channels, out_ldc = p.out_ldc > 0 ? p.out_ldc : p.channels;
  const auto x = random_floats(p.batch * p.in[0] * p.in[1] * p.in[2] * in_ldc);
  const int64_t pixels = p.batch * p.out[0] * p.out[1] * p.out[2];
  for (Tier tier : tiers()) {
    for (int threads : {1, 2}) {
      std::vector<float> y(static_cast<size_t>(pixels * out_ldc), 99.f);
      ThreadPool workers(threads);
      pool(p, tier, x.data(), y.data(), workers);
      size_t i = 0;
      for_each_index({p.batch, p.out[0], p.out[1], p.out[2], out_ldc}, [&](const std::vector<int64_t>& at) {
        const double want = at[4] >= p.channels ? 99 : reference(p, x, in_ldc, {at[1], at[2], at[3]}, at[0], at[4]);
        if (std::isinf(want)) EXPECT_EQ(y[i], want);
        else EXPECT_NEAR(y[i], want, 1e-6 * std::max(1.0, std::fabs(want))) << "element " << i;
        ++i;
      });
    }
  }
}

TEST(Pool, WindowsOfAllKinds) {
  for (PoolKind kind : {PoolKind::max, PoolKind::average, PoolKind::l1, PoolKind::l2}) {
    for (int64_t channels : {1, 3, 8, 37, 64}) {
      PoolProblem p{.kind = kind, .batch = 2, .channels = channels};
      p.in[1] = 11, p.in[2] = 13, p.kernel[1] = p.kernel[2] = 3, p.stride[1] = p.stride[2] = 2;
      p.pads_begin[1] = p.pads_begin[2] = p.pads_end[1] = p.pads_end[2] = 1;
      p.out[1] = 6, p.out[2] = 7;
      check(p);
      p.count_include_pad = true;
      p.out[2] = 8;  // as ceil_mode may ask for
      p.in_ldc = channels + 5, p.out_ldc = channels + 2;
      check(p);
      p = {.kind = kind, .batch = 1, .channels = channels};
      p.in[0] = 4, p.in[1] = 9, p.in[2] = 10, p.out[0] = 3, p.out[1] = 5, p.out[2] = 4;
      p.kernel[0] = 2, p.kernel[1] = 3, p.kernel[2] = 4, p.dilation[1] = 2, p.dilation[2] = 2;
      check(p);
    }
  }
}

TEST(Pool, Global) {
  for (PoolKind kind : {PoolKind::max, PoolKind::average, PoolKind::l2}) {
    check(global_pool(kind, 1, 49, 1000));
    check(global_pool(kind, 3, 1000, 37, 40));
  }
}

TEST(Pool, MaximumKeepsNan) {
  std::vector<float> x(9 * 8, 1.f), y(8);
  x[3 * 8 + 2] = NAN;
  for (Tier tier : tiers()) {
    ThreadPool workers(1);
    pool(global_pool(PoolKind::max, 1, 9, 8), tier, x.data(), y.data(), workers);
    EXPECT_TRUE(std::isnan(y[2]));
    EXPECT_EQ(y[1], 1.f);
  }
}

TEST(Pool, MaximaOfBytes) {
  for (int64_t channels : {1, 16, 45, 133}) {
    PoolProblem p{.batch = 2, .channels = channels};
    p.in[1] = 9, p.in[2] = 8;
    p.out[1] = 5, p.out[2] = 4;
    p.kernel[1] = p.kernel[2] = 3;
    p.stride[1] = p.stride[2] = 2;
    p.pads_begin[1] = p.pads_begin[2] = 1;
    const auto numbers = random_floats(p.batch * 9 * 8 * channels, 1, -128.f, 127.f);
    std::vector<int8_t> x, y(static_cast<size_t>(p.batch * 5 * 4 * channels));
    std::vector<float> whole;
    for (float v : numbers) {
      x.push_back(static_cast<int8_t>(v));
      whole.push_back(x.back());
    }
    ThreadPool workers(2);
    for (Tier tier : tiers()) {
      max_pool(p, tier, x.data(), y.data(), workers);
      size_t i = 0;
      for_each_index({p.batch, 1, 5, 4, channels}, [&](const std::vector<int64_t>& at) {
        ASSERT_EQ(y[i++], reference(p, whole, channels, {at[1], at[2], at[3]}, at[0], at[4]));
      });
    }
  }
}

}  // namespace
}  // namespace hone::cpu
