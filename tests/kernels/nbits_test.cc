// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/nbits/nbits.h"

#include <algorithm>
#include <string>

#include "kernels/kernel_testing.h"

namespace hone::cpu {
namespace {

struct Case {
  NBitsProblem p;
  bool bias = false, residual = false, relu = false;
};

// Random weights as the header says they lie, and what they stand for.
struct Weights {
  std::vector<uint8_t> codes;
  std::vector<float> scales, zeros;
  std::vector<double> values;  // [n][k]

  explicit Weights(const NBitsProblem& p) {
    std::mt19937 gen(5);
    const int64_t blocks = ceil_div(p.k, p.block), bytes = (p.block * p.bits + 7) / 8;
    codes.resize(static_cast<size_t>(p.n * blocks * bytes));
    for (uint8_t& c : codes) c = static_cast<uint8_t>(gen());
    scales = random_floats(p.n * blocks, 6, 0.01f, 0.1f);
    for (int64_t i = 0; i < p.n * blocks; ++i)
      zeros.push_back(static_cast<float>(p.centred ? 1 << (p.bits - 1) : static_cast<int>(gen() % (1u << p.bits))));
    for (int64_t j = 0; j < p.n; ++j)
      for (int64_t i = 0; i < p.k; ++i) {
        const auto block = static_cast<size_t>(j * blocks + i / p.block);
        const int64_t at = i % p.block;
        const uint8_t byte = codes[block * static_cast<size_t>(bytes) + static_cast<size_t>(at * p.bits / 8)];
        const int code = p.bits == 8 ? byte : at % 2 == 0 ? byte % 16 : byte / 16;
        values.push_back(static_cast<double>(code - zeros[block]) * static_cast<double>(scales[block]));
      }
  }
};

// Both ways on every tier, with one thread and several, against doubles.
void check(const Case& t) {
  const NBitsProblem& p = t.p;
  const Weights weights(p);
  const auto a = random_floats(p.m * p.k, 1), bias = random_floats(p.n, 2), residual = random_floats(p.m * p.n, 3);
  std::vector<double> want, bound;
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < p.k; ++k) {
        const double term =
            static_cast<double>(a[static_cast<size_t>(i * p.k + k)]) * weights.values[static_cast<size_t>(j * p.k + k)];
        sum += term;
        size += std::fabs(term);
      }
      if (t.bias) sum += static_cast<double>(bias[static_cast<size_t>(j)]);
      if (t.residual) sum += static_cast<double>(residual[static_cast<size_t>(i * p.n + j)]);
      want.push_back(t.relu ? std::max(sum, 0.0) : sum);
      // Each of k sums and products rounds by half a step of no more than the sum of all sizes.
      bound.push_back(static_cast<double>(FLT_EPSILON) * (size + 8) * std::sqrt(static_cast<double>(p.k) + 4));
    }
  for (Tier tier : tiers())
    for (int threads : {1, 3})
      for (bool rows : {true, false}) {
        SCOPED_TRACE(std::string(tier_name(tier)) + (rows ? " rows" : " panels") + " threads " +
                     std::to_string(threads) + " m " + std::to_string(p.m) + " n " + std::to_string(p.n) + " k " +
                     std::to_string(p.k) + " bits " + std::to_string(p.bits) + " block " + std::to_string(p.block));
        ThreadPool pool(threads);
        Workspace packed(nbits_packed_bytes(p, tier));
        nbits_pack(p, {weights.codes.data(), weights.scales.data(), weights.zeros.data()}, tier, packed.get());
        std::vector<float> c = residual;  // which the output may be
        Epilogue ep{.act = t.relu ? Activation::relu : Activation::none};
        if (t.bias) ep.bias = bias.data();
        if (t.residual) ep.residual = c.data();
        const GemmContext ctx{.tier = tier, .threads = threads};
        Workspace workspace(nbits_panels_workspace_bytes(p, ctx));
        if (rows) nbits_rows(p, tier, a.data(), packed.get(), c.data(), ep, pool);
        else nbits_panels(p, ctx, a.data(), packed.get(), c.data(), ep, workspace.get(), pool);
        for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(static_cast<double>(c[i]), want[i], bound[i]) << i;
      }
}

TEST(NBits, OddSizesOfEveryTail) {
  for (int bits : {4, 8})
    for (int64_t block : {16, 32, 128})
      for (int64_t k : {1, 15, 16, 31, 100, 257})
        for (int64_t n : {1, 7, 16, 33, 70}) check({.p = {.m = 3, .n = n, .k = k, .bits = bits, .block = block}});
}

TEST(NBits, EveryNumberOfRows) {
  for (int bits : {4, 8})
    for (int64_t m = 1; m <= 17; ++m)
      check({.p = {.m = m, .n = 37, .k = 70, .bits = bits, .block = 32, .centred = m % 2 == 0}});
  check({.p = {.m = 400, .n = 40, .k = 64}});
}

TEST(NBits, ZeroPointsAndBlocksOfAnySize) {
  for (int bits : {4, 8})
    for (int64_t block : {1, 5, 33, 100, 1000})
      check({.p = {.m = 5, .n = 35, .k = 100, .bits = bits, .block = block, .centred = false}});
}

TEST(NBits, Epilogues) {
  for (int bits : {4, 8})
    for (int flags = 0; flags < 8; ++flags)
      check({.p = {.m = 6, .n = 45, .k = 48, .bits = bits, .block = 16, .centred = false},
             .bias = (flags & 1) != 0,
             .residual = (flags & 2) != 0,
             .relu = (flags & 4) != 0});
}

}  // namespace
}  // namespace hone::cpu
