// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reduce/reduce.h"

#include "kernel_testing.h"
#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/reduce/byte_sums.h"

namespace hone::cpu {
namespace {

double reference(ReduceKind kind, const std::vector<double>& v) {
  double sum = 0, square = 0, absolute = 0, prod = 1, top = -INFINITY, low = INFINITY, exps = 0;
  for (double x : v)
    sum += x, square += x * x, absolute += std::fabs(x), prod *= x, top = std::max(top, x), low = std::min(low, x);
  for (double x : v) exps += std::exp(x - top);
  switch (kind) {
    case ReduceKind::sum: return sum;
    case ReduceKind::mean: return sum / static_cast<double>(v.size());
    case ReduceKind::max: return top;
    case ReduceKind::min: return low;
    case ReduceKind::prod: return prod;
    case ReduceKind::sum_square: return square;
    case ReduceKind::l1: return absolute;
    case ReduceKind::l2: return std::sqrt(square);
    case ReduceKind::log_sum: return std::log(sum);
    case ReduceKind::log_sum_exp: return top + std::log(exps);
  }
  return 0;
}

TEST(Reduce, AllKindsAndAxes) {
  const std::vector<std::vector<int64_t>> dims = {{1000},        {7, 130},       {130, 7},
                                                  {3, 17, 5, 9}, {1, 64, 1, 33}, {2, 300, 70}};
  for (const auto& d : dims) {
    for (unsigned set = 0; set < 1u << d.size(); ++set) {
      std::vector<int64_t> axes, kept;
      for (size_t a = 0; a < d.size(); ++a) {
        if (set >> a & 1) axes.push_back(static_cast<int64_t>(a));
        else kept.push_back(d[a]);
      }
      const auto x = random_floats(product(d), 3, 0.5, 1.5);
      std::vector<std::vector<double>> groups(static_cast<size_t>(product(kept)));
      size_t i = 0;
      for_each_index(d, [&](const std::vector<int64_t>& at) {
        int64_t o = 0;
        for (size_t a = 0; a < d.size(); ++a)
          if (!(set >> a & 1)) o = o * d[a] + at[a];
        groups[static_cast<size_t>(o)].push_back(x[i++]);
      });
      for (int kind = 0; kind <= static_cast<int>(ReduceKind::log_sum_exp); ++kind) {
        for (Tier tier : tiers()) {
          const auto plan = ReducePlan::make(static_cast<ReduceKind>(kind), d, axes, tier);
          ASSERT_TRUE(plan.ok());
          ThreadPool pool(tier == Tier::scalar ? 1 : 2);
          std::vector<float> y(groups.size());
          plan->run(x.data(), y.data(), pool);
          for (size_t o = 0; o < groups.size(); ++o) {
            const double want = reference(static_cast<ReduceKind>(kind), groups[o]);
            EXPECT_NEAR(y[o], want, 4e-7 * std::fabs(want) + 1e-30 + (kind >= 8 ? 2e-7 : 0))
                << "kind " << kind << " axes " << set;
          }
        }
      }
    }
  }
}

// The sums run in fp32 and double: results are rounded once more.
TEST(Reduce, InBf16) {
  if (!has_bf16_set(Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  const std::vector<int64_t> dims = {3, 17, 5, 9};
  const auto x = in_bf16(random_floats(product(dims), 3, 0.5, 1.5));
  for (const std::vector<int64_t>& axes : std::vector<std::vector<int64_t>>{{0}, {3}, {1, 2}, {2, 3}, {0, 1, 2, 3}}) {
    for (int kind = 0; kind <= static_cast<int>(ReduceKind::log_sum_exp); ++kind) {
      const auto plan = ReducePlan::make(static_cast<ReduceKind>(kind), dims, axes, Tier::avx512);
      ASSERT_TRUE(plan.ok());
      ThreadPool pool(2);
      int64_t outputs = product(dims);
      for (int64_t axis : axes) outputs /= dims[static_cast<size_t>(axis)];
      std::vector<bf16> y(static_cast<size_t>(outputs));
      std::vector<float> want(y.size());
      plan->run(x.data(), y.data(), pool);
      plan->run(in_f32(x).data(), want.data(), pool);
      for (size_t i = 0; i < y.size(); ++i)
        EXPECT_NEAR(to_float(y[i]), want[i], 2e-7 + bf16_rounding(want[i], 2e-7)) << "kind " << kind;
    }
  }
}

TEST(Reduce, EmptyNanAndInfinities) {
  ThreadPool pool(1);
  const std::vector<int64_t> empty = {3, 0}, axis = {1}, four = {4}, all = {0};
  float y[3];
  ASSERT_TRUE(ReducePlan::make(ReduceKind::sum, empty, axis).ok());
  ReducePlan::make(ReduceKind::max, empty, axis)->run(nullptr, y, pool);
  EXPECT_EQ(y[2], -INFINITY);
  const float low[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY}, nan[4] = {1, NAN, 3, 0};
  for (Tier tier : tiers()) {
    ReducePlan::make(ReduceKind::log_sum_exp, four, all, tier)->run(low, y, pool);
    EXPECT_EQ(y[0], -INFINITY);
    ReducePlan::make(ReduceKind::max, four, all, tier)->run(nan, y, pool);
    EXPECT_TRUE(std::isnan(y[0]));
  }
}

TEST(Reduce, ArgReduce) {
  ThreadPool pool(2);
  const float x[] = {3, 1, 7, 7, 2, 1};
  int64_t y[3];
  arg_reduce({1, 6, 1}, x, y, pool);
  EXPECT_EQ(y[0], 2);
  arg_reduce({.outer = 1, .length = 6, .inner = 1, .smallest = true, .select_last = true}, x, y, pool);
  EXPECT_EQ(y[0], 5);
  arg_reduce({1, 2, 3}, x, y, pool);
  EXPECT_EQ(y[0], 1);
  EXPECT_EQ(y[1], 1);
  EXPECT_EQ(y[2], 0);
}

TEST(ByteSums, AreExact) {
  const ByteSumsProblem problems[] = {{1, 49, 2048}, {3, 49, 131},   {2, 7, 1}, {5, 1, 40},
                                      {2, 1000, 1},  {1, 4099, 300}, {3, 0, 17}};
  std::mt19937 gen(5);
  for (const ByteSumsProblem& p : problems) {
    std::vector<int8_t> x(static_cast<size_t>(p.outer * p.length * p.inner));
    for (auto& v : x) v = static_cast<int8_t>(gen() % 5 == 0 ? gen() : 0x80);  // sums far beyond 16 bits
    for (Tier tier : tiers())
      for (int threads : {1, 2}) {
        ThreadPool pool(threads);
        std::vector<int32_t> y(static_cast<size_t>(p.outer * p.inner), -1);
        byte_sums(p, tier, x.data(), y.data(), pool);
        for (int64_t o = 0; o < p.outer; ++o)
          for (int64_t c = 0; c < p.inner; ++c) {
            int64_t want = 0;
            for (int64_t r = 0; r < p.length; ++r) want += x[static_cast<size_t>((o * p.length + r) * p.inner + c)];
            ASSERT_EQ(y[static_cast<size_t>(o * p.inner + c)], want)
                << p.length << " x " << p.inner << ", " << o << ' ' << c;
          }
      }
  }
  EXPECT_EQ(byte_sums_supports({1, 1 << 24, 1}), nullptr);
  EXPECT_NE(byte_sums_supports({1, (1 << 24) + 1, 1}), nullptr);
}

}  // namespace
}  // namespace hone::cpu
