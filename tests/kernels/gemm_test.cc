// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/gemm/fip.h"
#include "kernels/cpu/gemm/strassen.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/kernel_testing.h"

namespace hone::cpu {
namespace {

double activated(const Epilogue& ep, double x) {
  switch (ep.act) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::clip: return std::min<double>(std::max<double>(x, ep.a), ep.b);
    case Activation::leaky_relu: return x < 0 ? ep.a * x : x;
    case Activation::hard_swish: return x * std::min(std::max(x / 6 + 0.5, 0.0), 1.0);
    case Activation::hard_sigmoid: return std::min(std::max(ep.a * x + ep.b, 0.0), 1.0);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu_erf: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  }
  return 0;
}

struct Case {
  GemmProblem p;
  bool transposed = false;
  Epilogue ep = {};
  bool with_bias = false, with_residual = false;
};

// Runs packed and unpacked variants on every tier with 1 and 2 threads against double precision.
void check(const Case& t) {
  const GemmProblem& p = t.p;
  const int64_t lda = p.lda ? p.lda : p.k, ldc = p.ldc ? p.ldc : p.n, ldb = (t.transposed ? p.k : p.n) + 3;
  const int64_t b_rows = t.transposed ? p.n : p.k;
  const auto a = random_floats(p.stride_a * (p.batch - 1) + p.m * lda, 1);
  const auto b = random_floats(p.stride_b * (p.batch - 1) + b_rows * ldb, 2);
  const auto bias = random_floats(p.n, 3);
  const auto residual = random_floats(p.stride_c * (p.batch - 1) + p.m * ldc, 4);
  for (Tier tier : tiers())
    for (int threads : {1, 2})
      for (int mode = 0; mode < 2; ++mode) {
        SCOPED_TRACE(std::string(tier_name(tier)) + " threads " + std::to_string(threads) +
                     (mode ? " unpacked" : " packed") + " m " + std::to_string(p.m) + " n " + std::to_string(p.n) +
                     " k " + std::to_string(p.k));
        ThreadPool pool(threads);
        const GemmContext ctx{tier, threads};
        std::vector<float> c = residual;  // the residual is the output: allowed, and the hardest case
        Epilogue ep = t.ep;
        if (t.with_bias) ep.bias = bias.data();
        if (t.with_residual) ep.residual = c.data();
        if (mode == 1) {
          Workspace ws(gemm_unpacked_workspace_bytes(p, ctx, t.transposed));
          gemm_unpacked(p, ctx, a.data(), {b.data(), ldb, t.transposed}, c.data(), ep, ws.get(), pool);
        } else {
          GemmProblem q = p;
          const size_t item = gemm_packed_bytes(p.n, p.k, tier);
          q.stride_b = p.stride_b ? static_cast<int64_t>(item / 4) : 0;
          Workspace packed(item * p.batch);
          auto* const b_packed = static_cast<float*>(packed.get());
          for (int64_t i = 0; i < p.batch; ++i)
            gemm_pack(b.data() + i * p.stride_b, ldb, t.transposed, p.n, p.k, tier, b_packed + i * q.stride_b);
          Workspace ws(gemm_workspace_bytes(q, ctx));
          gemm(q, ctx, a.data(), b_packed, c.data(), ep, ws.get(), pool);
        }
        for (int64_t g = 0; g < p.batch; ++g)
          for (int64_t i = 0; i < p.m; ++i)
            for (int64_t j = 0; j < p.n; ++j) {
              double sum = 0, size = 0;
              for (int64_t k = 0; k < p.k; ++k) {
                const double v = double(a[g * p.stride_a + i * lda + k]) *
                                 b[g * p.stride_b + (t.transposed ? j * ldb + k : k * ldb + j)];
                sum += v;
                size += std::fabs(v);
              }
              const int64_t at = g * p.stride_c + i * ldc + j;
              const double r = t.with_residual ? residual[at] : 0;
              if (t.with_bias) sum += bias[j];
              const double want = ep.residual_after_activation ? activated(ep, sum) + r : activated(ep, sum + r);
              const double tol = double(p.k + 8) * FLT_EPSILON * (size + 2);
              ASSERT_NEAR(c[at], want, tol) << "item " << g << " row " << i << " column " << j;
            }
        for (int64_t i = 0; i < p.m; ++i)
          for (int64_t j = p.n; j < ldc && i * ldc + j < int64_t(c.size()); ++j)
            ASSERT_EQ(c[i * ldc + j], residual[i * ldc + j]) << "wrote outside";
      }
}

// Halves of odd lengths, a panel left over and columns that fill none, on every tier, with each tuning. In the first
// item of a batch nothing is a number.
TEST(Gemm, StrassenIsWithinItsErrorBound) {
  for (const GemmProblem& p :
       {GemmProblem{.m = 33, .n = 130, .k = 130}, GemmProblem{.m = 77, .n = 165, .k = 1030, .batch = 3},
        GemmProblem{.m = 40, .n = 192, .k = 256, .lda = 270, .ldc = 200, .batch = 2}}) {
    const int64_t lda = p.lda ? p.lda : p.k, ldc = p.ldc ? p.ldc : p.n, rows = p.batch * p.m;
    auto a = random_floats(rows * lda, 1);
    if (p.batch > 1) std::fill_n(a.begin(), p.m * lda, NAN);
    const auto b = random_floats(p.n * p.k, 2), bias = random_floats(p.n, 3), residual = random_floats(rows * ldc, 4);
    std::vector<double> want(rows * p.n);
    double largest = 0;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        double sum = double{bias[j]} + residual[i * ldc + j];
        for (int64_t k = 0; k < p.k; ++k) sum += double{a[i * lda + k]} * b[k * p.n + j];
        want[i * p.n + j] = sum;
        if (!std::isnan(sum)) largest = std::max(largest, std::fabs(sum));
      }
    std::vector<float> transposed(b.size());
    for (int64_t k = 0; k < p.k; ++k)
      for (int64_t j = 0; j < p.n; ++j) transposed[j * p.k + k] = b[k * p.n + j];
    for (Tier tier : tiers())
      for (int way : {1, 2, 3, 4}) {
        const int threads = way % 2 + 1;
        const bool fip = way > 2;
        if (fip && tier < Tier::avx512) continue;
        for (const DenseTuning& tuning : strassen_tunings({p.batch, p.m, p.n, p.k, fip}, tier, threads)) {
          SCOPED_TRACE(std::string(tier_name(tier)) + " threads " + std::to_string(threads) + " rows " +
                       std::to_string(tuning.row_block) + " m " + std::to_string(p.m));
          ThreadPool pool(threads);
          const GemmContext ctx{tier, threads, tuning};
          const bool from_rows = tuning.split == 1;
          const auto workspace_bytes = fip ? gemm_strassen_workspace_bytes<true> : gemm_strassen_workspace_bytes<false>;
          const auto multiply = fip ? gemm_strassen<true> : gemm_strassen<false>;
          Workspace packed(strassen_packed_bytes(p.n, p.k, tier, fip)), ws(workspace_bytes(p, ctx));
          strassen_pack(from_rows ? transposed.data() : b.data(), from_rows ? p.k : p.n, from_rows, p.n, p.k, tier, fip,
                        static_cast<float*>(packed.get()));
          std::vector<float> c = residual;
          const Epilogue ep{.bias = bias.data(), .residual = c.data()};
          multiply(p, ctx, a.data(), static_cast<const float*>(packed.get()), c.data(), ep, ws.get(), pool);
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < p.n; ++j) {
              const double expected = want[i * p.n + j];
              if (std::isnan(expected)) ASSERT_TRUE(std::isnan(c[i * ldc + j])) << i << " " << j;
              else ASSERT_NEAR(c[i * ldc + j], expected, strassen_error(p.k, fip) * largest) << i << " " << j;
            }
            for (int64_t j = p.n; j < ldc; ++j) ASSERT_EQ(c[i * ldc + j], residual[i * ldc + j]) << "wrote outside";
          }
        }
      }
  }
}

// Every rest of a sum's groups, rows and columns of any size, values of one sign, and rows that are no numbers or zero:
// what each result errs by is bounded by the norms of its own row and column.
TEST(Gemm, FastInnerProductsAreWithinNormsOfRowsAndColumns) {
  if (best_tier() < Tier::avx512) GTEST_SKIP() << "no AVX-512";
  for (const int64_t k : {12, 13, 23, 24, 26, 38, 64, 95, 333, 1030})
    for (const GemmProblem& p : {GemmProblem{.m = 8, .n = 17, .k = k}, GemmProblem{.m = 61, .n = 64, .k = k},
                                 GemmProblem{.m = 37, .n = 40, .k = k, .lda = k + 5, .ldc = 47}}) {
      const int64_t lda = p.lda ? p.lda : p.k, ldc = p.ldc ? p.ldc : p.n;
      auto a = random_floats(p.m * lda, 1), b = random_floats(p.n * k, 2);
      const auto bias = random_floats(p.n, 3), residual = random_floats(p.m * ldc, 4);
      const auto scale_row = [&](int64_t i, float by) {
        for (int64_t j = 0; j < k; ++j) a[i * lda + j] *= by;
      };
      for (int64_t j = 0; j < k; ++j) a[j] = std::fabs(a[j]);
      scale_row(1, 0x1p-120f);
      scale_row(2, 0x1p100f);
      scale_row(3, 0);
      scale_row(4, 1e-3f);
      a[5 * lda + k / 2] = NAN;
      a[6 * lda + k - 1] = INFINITY;
      for (int64_t j = 0; j < k; ++j) {
        b[j * p.n] *= 1e3f;
        b[j * p.n + 1] = 0;
      }
      for (const int threads : {1, 2})
        for (const DenseTuning& tuning : fip_tunings({.m = p.m, .n = p.n, .depth = k}, Tier::avx512, threads)) {
          SCOPED_TRACE("m " + std::to_string(p.m) + " k " + std::to_string(k) + " rows " +
                       std::to_string(tuning.row_block) + " split " + std::to_string(tuning.split));
          ThreadPool pool(threads);
          const GemmContext ctx{Tier::avx512, threads, tuning};
          Workspace packed(fip_packed_bytes(p.n, k, Tier::avx512)), ws(gemm_fip_workspace_bytes(p, ctx));
          fip_pack(b.data(), p.n, false, p.n, k, Tier::avx512, static_cast<float*>(packed.get()));
          std::vector<float> c = residual;
          const Epilogue ep{.bias = bias.data(), .residual = c.data()};
          gemm_fip(p, ctx, a.data(), static_cast<const float*>(packed.get()), c.data(), ep, ws.get(), pool);
          for (int64_t i = 0; i < p.m; ++i) {
            for (int64_t j = 0; j < p.n; ++j) {
              double sum = 0, row = 0, column = 0;
              for (int64_t l = 0; l < k; ++l) {
                const double x = a[i * lda + l], y = b[l * p.n + j];
                sum += x * y;
                row += x * x;
                column += y * y;
              }
              const double want = sum + bias[j] + residual[i * ldc + j];
              if (!std::isfinite(row)) {
                ASSERT_TRUE(std::isnan(c[i * ldc + j]) || c[i * ldc + j] == want) << i << " " << j;
                continue;
              }
              // A sum of `k` roundings of at most twice the product of the norms, and those of bias and residual.
              const double most = FLT_EPSILON * (2.5 * double(k + 8) * std::sqrt(row * column) + 4);
              ASSERT_NEAR(c[i * ldc + j], want, most) << i << " " << j;
            }
            for (int64_t j = p.n; j < ldc; ++j) ASSERT_EQ(c[i * ldc + j], residual[i * ldc + j]) << "wrote outside";
          }
        }
    }
}

// Where the values of rows and columns are of one sign, sums start from what nearly cancels, and err no more than plain
// ones, which grow evenly.
TEST(Gemm, FastInnerProductsOfOneSignErrNoMoreThanPlainOnes) {
  if (best_tier() < Tier::avx512) GTEST_SKIP() << "no AVX-512";
  const GemmProblem p{.m = 96, .n = 96, .k = 768};
  auto a = random_floats(p.m * p.k, 1), b = random_floats(p.n * p.k, 2);
  for (float& v : a) v = std::fabs(v);
  for (float& v : b) v = std::fabs(v);
  ThreadPool pool(1);
  const GemmContext ctx{Tier::avx512, 1};
  const auto worst_of = [&](auto bytes, auto pack, auto workspace_bytes, auto run) {
    Workspace packed(bytes(p.n, p.k, ctx.tier)), ws(workspace_bytes(p, ctx));
    pack(b.data(), p.n, false, p.n, p.k, ctx.tier, static_cast<float*>(packed.get()));
    std::vector<float> c(static_cast<size_t>(p.m * p.n));
    run(p, ctx, a.data(), static_cast<const float*>(packed.get()), c.data(), Epilogue{}, ws.get(), pool);
    double worst = 0;
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        double want = 0;
        for (int64_t l = 0; l < p.k; ++l) want += double{a[i * p.k + l]} * b[l * p.n + j];
        worst = std::max(worst, std::fabs(c[static_cast<size_t>(i * p.n + j)] - want));
      }
    return worst;
  };
  EXPECT_LT(worst_of(fip_packed_bytes, fip_pack, gemm_fip_workspace_bytes, gemm_fip),
            worst_of(gemm_packed_bytes, gemm_pack, gemm_workspace_bytes, gemm));
}

TEST(Gemm, OddShapes) {
  for (int64_t m : {1, 2, 3, 5, 7, 13, 61})
    for (int64_t n : {1, 7, 8, 17, 24, 40, 65})
      for (int64_t k : {1, 5, 64, 333}) check({.p = {.m = m, .n = n, .k = k}, .transposed = (m + n) % 2 == 0});
}

TEST(Gemm, LongSumsAndManyBlocks) {
  check({.p = {.m = 500, .n = 50, .k = 1200, .ldc = 57}, .with_bias = true, .with_residual = true});
  check({.p = {.m = 4, .n = 300, .k = 2000}});
}

TEST(Gemm, Batched) {
  for (bool transposed : {false, true})
    check({.p = {.m = 19,
                 .n = 33,
                 .k = 24,
                 .lda = 30,
                 .ldc = 40,
                 .batch = 5,
                 .stride_a = 19 * 30,
                 .stride_b = transposed ? 33 * 27 : 24 * 36,
                 .stride_c = 19 * 40},
           .transposed = transposed,
           .with_bias = true});
}

TEST(Gemm, Epilogues) {
  for (Activation act :
       {Activation::none, Activation::relu, Activation::clip, Activation::leaky_relu, Activation::hard_swish,
        Activation::hard_sigmoid, Activation::sigmoid, Activation::silu, Activation::tanh, Activation::gelu_erf})
    for (bool after : {false, true})
      check({.p = {.m = 11, .n = 37, .k = 20},
             .ep = {.act = act, .a = 0.2f, .b = 0.5f, .residual_after_activation = after},
             .with_bias = true,
             .with_residual = true});
}

TEST(Gemm, HookSeesEachOutputOnce) {
  ThreadPool pool(2);
  const GemmProblem p{.m = 70, .n = 45, .k = 9};
  const GemmContext ctx{best_tier(), 2};
  const auto a = random_floats(70 * 9, 1), b = random_floats(45 * 9, 2);
  std::vector<float> c(70 * 45, 0.f);
  Epilogue ep;
  ep.tile_hook = [](void* user, void* tile, int64_t row0, int64_t rows, int64_t col0, int64_t cols, int64_t ld) {
    auto* seen = static_cast<int*>(user);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) {
        ++seen[(row0 + i) * 45 + col0 + j];
        static_cast<float*>(tile)[i * ld + j] = 7.f;
      }
  };
  std::vector<int> seen(70 * 45, 0);
  ep.hook_user = seen.data();
  Workspace ws(gemm_unpacked_workspace_bytes(p, ctx, false));
  gemm_unpacked(p, ctx, a.data(), {b.data(), 45, false}, c.data(), ep, ws.get(), pool);
  for (int s : seen) ASSERT_EQ(s, 1);
  for (float x : c) ASSERT_EQ(x, 7.f);
}

TEST(ThreadPool, EveryTaskOnceAndNestedCallsRunInline) {
  ThreadPool pool(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(round % 17));
    std::atomic<int> nested{0};
    pool.parallel(round % 17, [&](int64_t i, int worker) {
      ++hits[static_cast<size_t>(i)];
      pool.parallel(2, [&](int64_t, int inner) { nested += inner == worker; });
    });
    for (auto& h : hits) ASSERT_EQ(h.load(), 1);
    ASSERT_EQ(nested.load(), 2 * (round % 17));
  }
}

TEST(ThreadPool, PoolsInSeveralThreads) {
  std::vector<std::thread> owners;
  std::atomic<int64_t> sum{0};
  for (int t = 0; t < 3; ++t)
    owners.emplace_back([&] {
      ThreadPool pool(2);
      for (int round = 0; round < 500; ++round) pool.parallel(5, [&](int64_t i, int) { sum += i; });
    });
  for (auto& o : owners) o.join();
  EXPECT_EQ(sum.load(), 3 * 500 * 10);
}

}  // namespace
}  // namespace hone::cpu
