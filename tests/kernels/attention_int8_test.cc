#include "kernels/cpu/attention/attention_int8.h"

#include "kernel_testing.h"
#include "kernels/cpu/int8/int8.h"

namespace hone::cpu {
namespace {

AttentionStrides interleaved(int64_t rows, int64_t heads, int64_t depth) {
  return {rows * heads * depth, depth, heads * depth};
}

std::vector<int8_t> random_bytes(int64_t count, unsigned seed) {
  std::vector<int8_t> bytes;
  for (const float x : random_floats(count, seed)) bytes.push_back(static_cast<int8_t>(std::lround(127 * x)));
  return bytes;
}

// What a query's weights are off by: half a 255th of the largest, and what 2^x is computed to.
constexpr double kOff = 0.5 / 255 + 1.1e-4;
constexpr float kResultScale = 0.75F;

struct Exact {
  double y, slack;
};

struct Case {
  AttentionProblem p;
  std::vector<int8_t> q, k, v;
  std::vector<float> mask;  // empty: none

  int8_t at(const std::vector<int8_t>& of, const AttentionStrides& s, int64_t n, int64_t h, int64_t i,
            int64_t d) const {
    return of[static_cast<size_t>(n * s.batch + h * s.head + i * s.row + d)];
  }

  // The weights of query i, whose largest is 1.
  std::vector<double> weights(int64_t n, int64_t h, int64_t i) const {
    std::vector<double> s(static_cast<size_t>(p.keys));
    double top = -INFINITY;
    for (int64_t j = 0; j < p.keys; ++j) {
      double x = 0;
      for (int64_t d = 0; d < p.depth; ++d) x += at(q, p.q, n, h, i, d) * at(k, p.k, n, kv(h), j, d);
      x *= static_cast<double>(p.scale);
      if (!mask.empty()) x += static_cast<double>(mask[static_cast<size_t>(n * p.mask.batch + i * p.mask.row + j)]);
      if (p.causal && j > i + p.keys - p.queries) x = -INFINITY;
      s[static_cast<size_t>(j)] = x;
      top = std::max(top, x);
    }
    for (double& x : s) x = std::isinf(top) ? 0 : std::exp(x - top);
    return s;
  }

  int64_t kv(int64_t h) const { return h / (p.heads / p.kv_heads); }

  // y = sum(w v) / sum(w): where each w is off by kOff, y is by the mean distance of the values from it at most.
  Exact exact(const std::vector<double>& w, int64_t n, int64_t h, int64_t d) const {
    double y = 0, sum = 0, distance = 0;
    for (const double x : w) sum += x;
    if (sum == 0) return {0, 0};
    const auto value = [&](int64_t j) { return static_cast<double>(at(v, p.v, n, kv(h), j, d)); };
    for (int64_t j = 0; j < p.keys; ++j) y += w[static_cast<size_t>(j)] / sum * value(j);
    for (int64_t j = 0; j < p.keys; ++j) distance += w[static_cast<size_t>(j)] > 0 ? std::fabs(value(j) - y) : 0;
    const double scale = static_cast<double>(kResultScale);
    const double least = std::max(sum - kOff * static_cast<double>(p.keys), 1.0);
    return {scale * y, scale * (kOff * distance / least + 1e-4)};
  }
};

void check(const Case& c, int threads, bool quantizes) {
  const AttentionProblem& p = c.p;
  ThreadPool pool(threads);
  Workspace workspace(attention_int8_workspace_bytes(p, threads));
  std::vector<float> y(static_cast<size_t>(p.batch * p.y.batch));
  std::vector<int8_t> bytes(y.size());
  attention_int8(p, {.q = c.q.data(),
                     .k = c.k.data(),
                     .v = c.v.data(),
                     .mask = c.mask.empty() ? nullptr : c.mask.data(),
                     .result_scale = kResultScale,
                     .quantizes = quantizes,
                     .y = quantizes ? static_cast<void*>(bytes.data()) : y.data(),
                     .workspace = workspace.get(),
                     .pool = &pool});
  for_each_index({p.batch, p.heads, p.queries}, [&](const std::vector<int64_t>& index) {
    const int64_t n = index[0], h = index[1], i = index[2];
    const std::vector<double> weights = c.weights(n, h, i);
    for (int64_t d = 0; d < p.value_depth; ++d) {
      const auto at = static_cast<size_t>(n * p.y.batch + h * p.y.head + i * p.y.row + d);
      const Exact want = c.exact(weights, n, h, d);
      EXPECT_NEAR(quantizes ? static_cast<double>(bytes[at]) : static_cast<double>(y[at]), want.y,
                  want.slack + (quantizes ? 0.5 : 0));
    }
  });
}

// `spread`: of the scores. Masks of one row for all queries, or of one for each.
void check(AttentionProblem p, double spread, bool masked, bool by_query = true) {
  if (!has_int8_set(Int8Set::vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  p.q = interleaved(p.queries, p.heads, p.depth);
  p.k = interleaved(p.keys, p.kv_heads, p.depth);
  p.v = interleaved(p.keys, p.kv_heads, p.value_depth);
  p.y = interleaved(p.queries, p.heads, p.value_depth);
  p.mask = {by_query ? p.queries * p.keys : p.keys, 0, by_query ? p.keys : 0};
  p.scale = static_cast<float>(spread / (5400 * std::sqrt(static_cast<double>(p.depth))));
  ASSERT_EQ(attention_int8_supports(p), nullptr);
  Case c{p,
         random_bytes(p.batch * p.q.batch, 1),
         random_bytes(p.batch * p.k.batch, 2),
         random_bytes(p.batch * p.v.batch, 3),
         {}};
  if (masked) c.mask = random_floats(p.batch * p.mask.batch, 4);
  for (size_t i = 0; i < c.mask.size(); i += 3) c.mask[i] = -INFINITY;
  for (const bool quantizes : {false, true})
    for (const int threads : {1, 2}) check(c, threads, quantizes);
}

TEST(AttentionInt8, ShapesMasksAndGroups) {
  for (const double spread : {1.0, 8.0})
    for (const bool masked : {false, true}) {
      check({.batch = 2, .heads = 3, .kv_heads = 3, .queries = 37, .keys = 41, .depth = 20, .value_depth = 21}, spread,
            masked);
      check({.batch = 1, .heads = 4, .kv_heads = 2, .queries = 128, .keys = 128, .depth = 64, .value_depth = 64},
            spread, masked, false);
      check({.batch = 1, .heads = 2, .kv_heads = 1, .queries = 5, .keys = 90, .depth = 36, .value_depth = 80}, spread,
            masked);
    }
}

TEST(AttentionInt8, Causal) {
  check(
      {.batch = 1, .heads = 2, .kv_heads = 2, .queries = 50, .keys = 50, .depth = 16, .value_depth = 8, .causal = true},
      2, false);
  check(
      {.batch = 2, .heads = 2, .kv_heads = 2, .queries = 9, .keys = 30, .depth = 16, .value_depth = 40, .causal = true},
      2, true);
  check(
      {.batch = 1, .heads = 1, .kv_heads = 1, .queries = 70, .keys = 66, .depth = 8, .value_depth = 8, .causal = true},
      2, false);
}

TEST(AttentionInt8, AQueryThatSeesNoKeyGivesZero) {
  if (!has_int8_set(Int8Set::vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  AttentionProblem p{.queries = 3, .keys = 8, .depth = 8, .value_depth = 16};
  p.q = p.k = interleaved(8, 1, 8);
  p.v = p.y = interleaved(8, 1, 16);
  p.mask = {0, 0, 0};
  const std::vector<int8_t> q = random_bytes(64, 1), v = random_bytes(128, 2);
  const std::vector<float> mask(8, -INFINITY);
  std::vector<float> y(48, 1.F);
  ThreadPool pool(1);
  Workspace workspace(attention_int8_workspace_bytes(p, 1));
  attention_int8(p, {q.data(), q.data(), v.data(), mask.data(), 1.F, false, y.data(), workspace.get(), &pool});
  EXPECT_EQ(y, std::vector<float>(48, 0.F));
}

}  // namespace
}  // namespace hone::cpu
