// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/attention/attention.h"

#include "kernel_testing.h"
#include "kernels/cpu/bf16/bf16.h"

namespace hone::cpu {
namespace {

// Heads interleaved as [batch, row, head, depth], like the output of a projection.
AttentionStrides interleaved(int64_t rows, int64_t heads, int64_t depth) {
  return {rows * heads * depth, depth, heads * depth};
}

// The same numbers in bf16 give what they give in f32, rounded; for blocks of queries the weights, whose sum is 1, are
// rounded as well, each by 2^-8 of itself at most.
void check_in_bf16(const AttentionProblem& p, const std::vector<bf16>& q, const std::vector<bf16>& k,
                   const std::vector<bf16>& v, const float* mask) {
  if (!has_bf16_set(Bf16Set::avx512)) return;
  ThreadPool pool(2);
  Workspace workspace(attention_workspace_bytes(p, Tier::avx512, 2, true)),
      of_floats(attention_workspace_bytes(p, Tier::avx512, 2));
  std::vector<float> want(static_cast<size_t>(p.batch * p.y.batch));
  std::vector<bf16> got(want.size());
  const auto q_f32 = in_f32(q), k_f32 = in_f32(k), v_f32 = in_f32(v);
  const AttentionTensors<float> floats{q_f32.data(), k_f32.data(), v_f32.data(), mask, want.data()};
  attention(p, Tier::avx512, floats, of_floats.get(), pool);
  const AttentionTensors<bf16> halves{q.data(), k.data(), v.data(), mask, got.data()};
  attention(p, Tier::avx512, halves, workspace.get(), pool);
  const double slack = 6e-6 + (p.queries > 4 ? std::ldexp(largest_magnitude(v), -8) : 0);
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(to_float(got[i]), want[i], slack + bf16_rounding(want[i], slack)) << "element " << i;
}

void check(AttentionProblem p, bool masked) {
  p.q = interleaved(p.queries, p.heads, p.depth);
  p.k = interleaved(p.keys, p.kv_heads, p.depth);
  p.v = interleaved(p.keys, p.kv_heads, p.value_depth);
  p.y = interleaved(p.queries, p.heads, p.value_depth);
  p.mask = {p.queries * p.keys, 0, p.keys};
  p.scale = 1 / std::sqrt(static_cast<float>(p.depth));
  ASSERT_EQ(attention_supports(p), nullptr);
  const auto q = random_floats(p.batch * p.q.batch, 1), k = random_floats(p.batch * p.k.batch, 2),
             v = random_floats(p.batch * p.v.batch, 3);
  auto mask = random_floats(p.batch * p.queries * p.keys, 4);
  for (size_t i = 0; i < mask.size(); i += 3) mask[i] = -INFINITY;
  check_in_bf16(p, in_bf16(q), in_bf16(k), in_bf16(v), masked ? mask.data() : nullptr);
  for (Tier tier : tiers()) {
    for (int threads : {1, 2}) {
      ThreadPool pool(threads);
      Workspace workspace(attention_workspace_bytes(p, tier, threads));
      std::vector<float> y(static_cast<size_t>(p.batch * p.y.batch));
      const AttentionTensors<float> of{q.data(), k.data(), v.data(), masked ? mask.data() : nullptr, y.data()};
      attention(p, tier, of, workspace.get(), pool);
      for_each_index({p.batch, p.heads, p.queries}, [&](const std::vector<int64_t>& at) {
        const int64_t n = at[0], h = at[1], i = at[2], kv = h / (p.heads / p.kv_heads);
        std::vector<double> s(static_cast<size_t>(p.keys), 0);
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < p.keys; ++j) {
          double& x = s[static_cast<size_t>(j)];
          for (int64_t d = 0; d < p.depth; ++d)
            x += static_cast<double>(q[static_cast<size_t>(n * p.q.batch + h * p.q.head + i * p.q.row + d)]) *
                 k[static_cast<size_t>(n * p.k.batch + kv * p.k.head + j * p.k.row + d)] * p.scale;
          if (masked) x += mask[static_cast<size_t>((n * p.queries + i) * p.keys + j)];
          if (p.causal && j > i + p.keys - p.queries) x = -INFINITY;
          top = std::max(top, x);
        }
        for (double& x : s) sum += x = std::isinf(top) ? 0 : std::exp(x - top);
        for (int64_t d = 0; d < p.value_depth; ++d) {
          double want = 0;
          for (int64_t j = 0; j < p.keys && sum > 0; ++j)
            want += s[static_cast<size_t>(j)] / sum *
                    v[static_cast<size_t>(n * p.v.batch + kv * p.v.head + j * p.v.row + d)];
          EXPECT_NEAR(y[static_cast<size_t>(n * p.y.batch + h * p.y.head + i * p.y.row + d)], want, 3e-6);
        }
      });
    }
  }
}

TEST(Attention, ShapesMasksAndGroups) {
  for (bool masked : {false, true}) {
    check({.batch = 2, .heads = 3, .kv_heads = 3, .queries = 37, .keys = 41, .depth = 19, .value_depth = 21}, masked);
    check({.batch = 1, .heads = 4, .kv_heads = 2, .queries = 128, .keys = 128, .depth = 64, .value_depth = 64}, masked);
    check({.batch = 1, .heads = 2, .kv_heads = 1, .queries = 1, .keys = 900, .depth = 32, .value_depth = 32}, masked);
  }
}

TEST(Attention, Causal) {
  check(
      {.batch = 1, .heads = 2, .kv_heads = 2, .queries = 50, .keys = 50, .depth = 16, .value_depth = 8, .causal = true},
      false);
  check(
      {.batch = 2, .heads = 2, .kv_heads = 2, .queries = 9, .keys = 30, .depth = 16, .value_depth = 40, .causal = true},
      true);
  check(
      {.batch = 1, .heads = 1, .kv_heads = 1, .queries = 20, .keys = 12, .depth = 8, .value_depth = 8, .causal = true},
      false);
}

}  // namespace
}  // namespace hone::cpu
