// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// A block of queries is the columns of a product whose rows are the keys: scores come key by key, a query a lane, so
// that a softmax is arithmetic on whole vectors. Keys and values that several blocks need are copied to where they
// lie close together; one block reads them where they are.
#include "kernels/cpu/attention/attention.h"

#include <cstring>
#include <type_traits>

#include "kernels/cpu/attention/bf16_attention.h"
#include "kernels/cpu/attention/attention_kernel.h"
#include "kernels/cpu/bf16/rows.h"
#include "kernels/cpu/conv/dot_kernel.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/transpose/tile.h"

namespace hone::cpu {

namespace scalar {
extern const AttentionKernel kAttentionKernel;
}
namespace avx2 {
extern const AttentionKernel kAttentionKernel;
}
namespace avx512 {
extern const AttentionKernel kAttentionKernel;
}

const AttentionKernel& attention_kernel(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kAttentionKernel;
    case Tier::avx2: return avx2::kAttentionKernel;
    case Tier::scalar: break;
  }
  return scalar::kAttentionKernel;
}

namespace {

constexpr int64_t kFewQueries = 4;     // for which most lanes would be empty: products run along the depth instead
constexpr int64_t kPointerFloats = 2;  // that a pointer takes

// What a worker owns, in floats; `block`: most queries of a block.
struct Layout {
  int64_t block, v_panels;
  int64_t queries, scores, mask, keys, values, inverse, pointers;
  int64_t wide;  // rows of queries or results in f32, where they are bf16
  int64_t total;
};

Layout layout_of(const AttentionProblem& p, Tier tier, bool in_bf16) {
  const auto lines = [](int64_t floats) { return round_up(floats, static_cast<int64_t>(kAlign / sizeof(float))); };
  Layout l{};
  l.block = panel_kernel(tier).nr;
  l.v_panels = ceil_div(p.value_depth, l.block);
  l.queries = lines(l.block * round_up(p.depth, l.block));
  l.scores = lines(l.block * p.keys);
  l.mask = p.mask.row == 0 ? 0 : l.scores;
  l.keys = in_bf16 || p.queries > l.block ? lines(p.keys * p.depth) : 0;
  l.values = l.v_panels * l.scores;
  l.inverse = lines(l.block);
  l.pointers = lines(p.keys * kPointerFloats);
  l.wide = in_bf16 ? lines(l.block * std::max(p.depth, l.block)) : 0;
  l.total = l.queries + l.scores + l.mask + l.keys + l.values + l.inverse + l.pointers + l.wide;
  return l;
}

struct Worker {
  float *queries, *scores, *mask, *keys, *values, *inverse;
  const float** key_rows;
  float* wide;
  Worker(void* workspace, const Layout& l, int index) {
    queries = static_cast<float*>(workspace) + index * l.total;
    scores = queries + l.queries;
    mask = scores + l.scores;
    keys = mask + l.mask;
    values = keys + l.keys;
    inverse = values + l.values;
    key_rows = reinterpret_cast<const float**>(inverse + l.inverse);
    wide = inverse + l.inverse + l.pointers;
  }
};

// y[c][r] = x[r][c], y's rows `ld` floats apart.
void transpose(Tier tier, const float* x, int64_t x_row, int64_t rows, int64_t cols, float* y, int64_t ld) {
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  transpose_tiles(tier).bytes4(
      {reinterpret_cast<const char*>(x), reinterpret_cast<char*>(y), rows, cols, x_row * kFloat, ld * kFloat});
}

// The values of a head: floats from key to key, and from panel to panel.
struct Values {
  const float* first;
  int64_t ld, panel;
};

void copy_row(const float* x, int64_t count, float* y) { std::copy_n(x, count, y); }
void copy_row(const bf16* x, int64_t count, float* y) { avx512_bf16::widen_row(x, count, y); }

template <class T>
struct Run {
  static constexpr bool kInBf16 = std::is_same_v<T, bf16>;

  const AttentionProblem& p;
  const Layout l;
  Tier tier;
  const AttentionTensors<T>& of;

  // Points to the keys of one head; returns its values.
  Values prepare(const Worker& w, int64_t n, int64_t h) const {
    const int64_t kv = h / (p.heads / p.kv_heads);
    const T* const keys = of.k + n * p.k.batch + kv * p.k.head;
    const T* const values = of.v + n * p.v.batch + kv * p.v.head;
    const bool copies = kInBf16 || p.queries > l.block;
    for (int64_t i = 0; copies && i < p.keys; ++i) copy_row(keys + i * p.k.row, p.depth, w.keys + i * p.depth);
    for (int64_t i = 0; copies && i < p.keys; ++i) w.key_rows[i] = w.keys + i * p.depth;
    if constexpr (!kInBf16) {
      for (int64_t i = 0; !copies && i < p.keys; ++i) w.key_rows[i] = keys + i * p.k.row;
      if (!copies && p.value_depth % (l.block / 2) == 0) return {values, p.v.row, l.block};  // whole vectors
    }
    for (int64_t j = 0; j < l.v_panels; ++j) copy_values(values, j, w.values + j * l.scores);
    return {w.values, l.block, l.scores};
  }

  // A panel of columns, zeros where it has more than there are.
  void copy_values(const float* values, int64_t panel, float* to) const {
    pack_panel(values, p.v.row, false, p.value_depth, p.keys, panel, static_cast<int>(l.block), to);
  }
  void copy_values(const bf16* values, int64_t panel, float* to) const {
    const int64_t first = panel * l.block, count = std::min(l.block, p.value_depth - first);
    for (int64_t i = 0; i < p.keys; ++i, to += l.block) {
      copy_row(values + i * p.v.row + first, count, to);
      std::fill(to + count, to + l.block, 0.f);
    }
  }

  // Queries in f32, and what lies between their rows.
  std::pair<const float*, int64_t> in_f32(const Worker&, const float* queries, int64_t) const {
    return {queries, p.q.row};
  }
  std::pair<const float*, int64_t> in_f32(const Worker& w, const bf16* queries, int64_t m) const {
    for (int64_t i = 0; i < m; ++i) copy_row(queries + i * p.q.row, p.depth, w.wide + i * p.depth);
    return {w.wide, p.depth};
  }

  // Scores of m queries by the first `seen` keys; what lies between the results of one key and the next.
  int64_t multiply(const Worker& w, const T* stored, int64_t m, int64_t seen) const {
    static const Epilogue none;
    const auto [queries, row] = in_f32(w, stored, m);
    if (m <= kFewQueries) {
      const DotKernel& dot = dot_kernel(tier);
      std::memset(w.queries, 0, sizeof(float) * static_cast<size_t>(l.queries));
      for (int64_t i = 0; i < m; ++i)
        for (int64_t d = 0; d < p.depth; ++d)
          w.queries[(d / dot.lanes * m + i) * dot.lanes + d % dot.lanes] = queries[i * row + d];
      dot.run({.lines = w.key_rows,
               .lines_ld = seen,
               .line_count = 1,
               .depth = p.depth,
               .pixels = seen,
               .channels = m,
               .weights = w.queries,
               .out = w.scores,
               .epilogue = &none,
               .residual = nullptr});
      return m;
    }
    if (m < l.block) std::memset(w.queries, 0, sizeof(float) * static_cast<size_t>(l.queries));
    transpose(tier, queries, row, m, p.depth, w.queries, l.block);
    panel_kernel(tier).run({.rows = w.key_rows,
                            .rows_ld = seen,
                            .m = seen,
                            .n = m,
                            .taps = 1,
                            .depth = p.depth,
                            .b = w.queries,
                            .b_ld = l.block,
                            .k_block = p.depth,
                            .c = w.scores,
                            .ldc = l.block,
                            .epilogue = &none});
    return l.block;
  }

  // Query rows [i0, i0 + m) of one head that has been prepared.
  void block(const Worker& w, const Values& values, int64_t n, int64_t h, int64_t i0, int64_t m) const {
    const int64_t first = p.causal ? i0 + p.keys - p.queries + 1 : p.keys;  // keys that query i0 sees
    const int64_t seen = p.causal ? std::clamp<int64_t>(first + m - 1, 0, p.keys) : p.keys;
    AttentionScores s{.scores = w.scores,
                      .ld = l.block,
                      .keys = seen,
                      .queries = m,
                      .scale = p.scale,
                      .mask = nullptr,
                      .mask_key = 1,
                      .mask_query = 0,
                      .seen = first,
                      .inverse = w.inverse};
    if (seen > 0) s.ld = multiply(w, of.q + n * p.q.batch + h * p.q.head + i0 * p.q.row, m, seen);
    if (of.mask != nullptr) s.mask = of.mask + n * p.mask.batch + h * p.mask.head;
    if (of.mask != nullptr && p.mask.row != 0) {
      transpose(tier, s.mask + i0 * p.mask.row, p.mask.row, m, seen, w.mask, l.block);
      s.mask = w.mask;
      s.mask_key = l.block;
      s.mask_query = 1;
    }
    const AttentionKernel& kernel = attention_kernel(tier);
    kernel.softmax(s);
    T* const out = of.y + n * p.y.batch + h * p.y.head + i0 * p.y.row;
    for (int64_t j = 0; j < l.v_panels; ++j) {
      const int64_t depth = std::min(l.block, p.value_depth - j * l.block);
      float* results = w.wide;
      if constexpr (!kInBf16) results = out + j * l.block;
      kernel.weigh({.scores = w.scores,
                    .ld = s.ld,
                    .keys = seen,
                    .queries = m,
                    .inverse = w.inverse,
                    .v = values.first + j * values.panel,
                    .v_ld = values.ld,
                    .depth = depth,
                    .y = results,
                    .y_ld = kInBf16 ? l.block : p.y.row});
      if constexpr (kInBf16)
        for (int64_t i = 0; i < m; ++i)
          avx512_bf16::narrow_row(results + i * l.block, depth, out + i * p.y.row + j * l.block);
    }
  }
};

}  // namespace

const char* attention_supports(const AttentionProblem& p) {
  if (p.batch < 0 || p.heads < 1 || p.kv_heads < 1 || p.heads % p.kv_heads != 0)
    return "heads that kv_heads do not divide";
  if (p.queries < 0 || p.keys < 1 || p.depth < 1 || p.value_depth < 1) return "an empty sequence or depth";
  return nullptr;
}

size_t attention_workspace_bytes(const AttentionProblem& p, Tier tier, int threads, bool in_bf16) {
  if (in_bf16 && p.queries > kFewQueries)
    return attention_bf16_workspace_bytes(p, bf16_kernel(*best_bf16_set()), threads);
  return sizeof(float) * static_cast<size_t>(layout_of(p, tier, in_bf16).total) * static_cast<size_t>(threads);
}

namespace {

template <class T>
void attend(const AttentionProblem& p, Tier tier, const AttentionTensors<T>& of, void* workspace, ThreadPool& pool) {
  const Run<T> run{p, layout_of(p, tier, Run<T>::kInBf16), tier, of};
  const int64_t blocks = p.queries == 0 ? 0 : ceil_div(p.queries, run.l.block), units = p.batch * p.heads * blocks;
  const int64_t tasks = std::min(units, task_count(units, 1, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int worker) {
    const Worker w(workspace, run.l, worker);
    const Part part = part_of(units, t, tasks);
    Values values{};
    for (int64_t u = part.begin; u < part.end; ++u) {
      const int64_t head = u / blocks, i0 = u % blocks * run.l.block;
      if (u == part.begin || u % blocks == 0) values = run.prepare(w, head / p.heads, head % p.heads);
      run.block(w, values, head / p.heads, head % p.heads, i0, std::min(run.l.block, p.queries - i0));
    }
  });
}

}  // namespace

void attention(const AttentionProblem& p, Tier tier, const AttentionTensors<float>& of, void* workspace,
               ThreadPool& pool) {
  attend(p, tier, of, workspace, pool);
}

void attention(const AttentionProblem& p, Tier tier, const AttentionTensors<bf16>& of, void* workspace,
               ThreadPool& pool) {
  if (p.queries > kFewQueries) return attention_bf16(p, bf16_kernel(*best_bf16_set()), of, workspace, pool);
  attend(p, tier, of, workspace, pool);
}

}  // namespace hone::cpu
