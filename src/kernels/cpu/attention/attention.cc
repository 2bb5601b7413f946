// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/attention/attention.h"

#include <cstring>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/softmax/rows.h"

namespace hone::cpu {
namespace {

constexpr int64_t kScoreFloats = 48 << 10;  // of a block of rows, so that it shares L2 with k and v
constexpr int64_t kMaxRows = 96;
constexpr int64_t kDepthBlock = 384;  // longest sum in one go: its panel stays in L1
constexpr int64_t kPointerFloats = 2;  // that a pointer takes
constexpr float kNothing = -__builtin_inff();

// What a worker owns, in floats.
struct Layout {
  int64_t rows, k_panels, v_panels, nr;
  int64_t packed_k, packed_v, scores, queries, partial, pointers, total;
};

Layout layout_of(const AttentionProblem& p, Tier tier, int threads) {
  Layout l{};
  const PanelKernel& kernel = panel_kernel(tier);
  l.nr = kernel.nr;
  l.k_panels = ceil_div(p.keys, l.nr);
  l.v_panels = ceil_div(p.value_depth, l.nr);
  l.rows = std::clamp<int64_t>(kScoreFloats / std::max<int64_t>(l.k_panels * l.nr, 1), 1, kMaxRows);
  l.rows = std::max<int64_t>(l.rows / kernel.mr, 1) * kernel.mr;
  // Enough blocks for all threads when there are few heads.
  const int64_t share = ceil_div(p.queries * p.batch * p.heads, threads);
  l.rows = std::min({l.rows, p.queries, std::max<int64_t>(share, kernel.mr)});
  l.packed_k = l.k_panels * l.nr * p.depth;
  l.packed_v = l.v_panels * l.nr * p.keys;
  l.scores = round_up(l.rows * l.k_panels * l.nr, 16);
  l.queries = round_up(l.rows * p.depth, 16);
  l.partial = round_up(l.rows * l.nr, 16);
  l.pointers = round_up(l.rows * kPointerFloats, 16);
  l.total = round_up(l.packed_k, 16) + round_up(l.packed_v, 16) + l.scores + l.queries + l.partial + l.pointers;
  return l;
}

struct Worker {
  float *packed_k, *packed_v, *scores, *queries, *partial;
  const float** pointers;
  Worker(void* workspace, const Layout& l, int index) {
    packed_k = static_cast<float*>(workspace) + index * l.total;
    packed_v = packed_k + round_up(l.packed_k, 16);
    scores = packed_v + round_up(l.packed_v, 16);
    queries = scores + l.scores;
    partial = queries + l.queries;
    pointers = reinterpret_cast<const float**>(partial + l.partial);
  }
};

struct Run {
  const AttentionProblem& p;
  const Layout l;
  Tier tier;
  const float *q, *k, *v, *mask;
  float* y;

  void pack(const Worker& w, int64_t n, int64_t h) const {
    const int64_t kv = h / (p.heads / p.kv_heads);
    const float* keys = k + n * p.k.batch + kv * p.k.head;
    const float* values = v + n * p.v.batch + kv * p.v.head;
    for (int64_t j = 0; j < l.k_panels; ++j)
      pack_panel(keys, p.k.row, true, p.keys, p.depth, j, static_cast<int>(l.nr), w.packed_k + j * l.nr * p.depth);
    for (int64_t j = 0; j < l.v_panels; ++j)
      pack_panel(values, p.v.row, false, p.value_depth, p.keys, j, static_cast<int>(l.nr),
                 w.packed_v + j * l.nr * p.keys);
  }

  // c[m][n] = rows * panels, `k` values a row.
  void multiply(const Worker& w, int64_t m, int64_t n, int64_t depth, const float* b, float* c, int64_t ldc) const {
    const Epilogue none;
    PanelJob job{.rows = w.pointers, .rows_ld = m, .m = m, .taps = 1, .depth = depth, .b_ld = l.nr,
                 .k_block = kDepthBlock, .partial = w.partial, .ldc = ldc, .epilogue = &none};
    for (int64_t j = 0; j * l.nr < n; ++j) {
      job.n = std::min(l.nr, n - j * l.nr);
      job.b = b + j * l.nr * depth;
      job.c = c + j * l.nr;
      panel_kernel(tier).run(job);
    }
  }

  // Query rows [i0, i0 + m) of one head, whose keys and values are packed.
  void block(const Worker& w, int64_t n, int64_t h, int64_t i0, int64_t m) const {
    const float* from = q + n * p.q.batch + h * p.q.head;
    for (int64_t i = 0; i < m; ++i) {
      float* row = w.queries + i * p.depth;
      for (int64_t d = 0; d < p.depth; ++d) row[d] = from[(i0 + i) * p.q.row + d] * p.scale;
      w.pointers[i] = row;
    }
    const int64_t ld = l.k_panels * l.nr;
    const int64_t first = p.keys - p.queries + 1;  // keys that query 0 sees
    const int64_t seen = p.causal ? std::clamp<int64_t>(i0 + m - 1 + first, 0, p.keys) : p.keys;
    multiply(w, m, seen, p.depth, w.packed_k, w.scores, ld);
    for (int64_t i = 0; i < m; ++i) {
      const int64_t visible = p.causal ? std::clamp<int64_t>(i0 + i + first, 0, seen) : seen;
      normalise(w.scores + i * ld, n, h, i0 + i, visible, seen);
      w.pointers[i] = w.scores + i * ld;
    }
    float* out = y + n * p.y.batch + h * p.y.head + i0 * p.y.row;
    // Values are packed for all keys; a causal block stops at the last one it sees.
    const Epilogue none;
    for (int64_t j = 0; j < l.v_panels; ++j) {
      const PanelJob job{.rows = w.pointers, .rows_ld = m, .m = m, .n = std::min(l.nr, p.value_depth - j * l.nr),
                         .taps = 1, .depth = seen, .b = w.packed_v + j * l.nr * p.keys, .b_ld = l.nr,
                         .k_block = kDepthBlock, .partial = w.partial, .c = out + j * l.nr, .ldc = p.y.row,
                         .epilogue = &none};
      if (seen > 0) panel_kernel(tier).run(job);
      else
        for (int64_t i = 0; i < m; ++i) std::memset(job.c + i * job.ldc, 0, sizeof(float) * static_cast<size_t>(job.n));
    }
  }

  void normalise(float* row, int64_t n, int64_t h, int64_t i, int64_t visible, int64_t seen) const {
    float top = visible > 0 && mask == nullptr ? 0.f : kNothing;
    if (mask != nullptr) {
      const float* add = mask + n * p.mask.batch + h * p.mask.head + i * p.mask.row;
      for (int64_t j = 0; j < visible; ++j) {
        row[j] += add[j];
        top = row[j] == kNothing ? top : 0.f;
      }
    }
    for (int64_t j = visible; j < seen; ++j) row[j] = 0;
    if (top == kNothing) std::memset(row, 0, sizeof(float) * static_cast<size_t>(seen));
    else softmax_kernels(tier).row(row, row, visible, false);
  }
};

}  // namespace

const char* attention_supports(const AttentionProblem& p) {
  if (p.batch < 0 || p.heads < 1 || p.kv_heads < 1 || p.heads % p.kv_heads != 0)
    return "heads that kv_heads do not divide";
  if (p.queries < 0 || p.keys < 1 || p.depth < 1 || p.value_depth < 1) return "an empty sequence or depth";
  return nullptr;
}

size_t attention_workspace_bytes(const AttentionProblem& p, Tier tier, int threads) {
  return sizeof(float) * static_cast<size_t>(layout_of(p, tier, threads).total) * static_cast<size_t>(threads);
}

void attention(const AttentionProblem& p, Tier tier, const float* q, const float* k, const float* v, const float* mask,
               float* y, void* workspace, ThreadPool& pool) {
  const Run run{p, layout_of(p, tier, pool.size()), tier, q, k, v, mask, y};
  const int64_t blocks = p.queries == 0 ? 0 : ceil_div(p.queries, run.l.rows), units = p.batch * p.heads * blocks;
  const int64_t tasks = std::min(units, task_count(units, 1, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int worker) {
    const Worker w(workspace, run.l, worker);
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const int64_t head = u / blocks, i0 = u % blocks * run.l.rows;
      if (u == part.begin || u % blocks == 0) run.pack(w, head / p.heads, head % p.heads);
      run.block(w, head / p.heads, head % p.heads, i0, std::min(run.l.rows, p.queries - i0));
    }
  });
}

}  // namespace hone::cpu
