// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// How attention by products of narrow types is shared out: a block of queries of one head is the columns of a product
// whose rows are the keys.
#pragma once

#include <algorithm>

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/attention/attention_kernel.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/transpose/tile.h"

namespace hone::cpu {

// Queries [first, first + count) of one head.
struct AttentionBlock {
  int64_t item, head, first, count;
  int64_t sees;  // keys that the first query sees; each query sees one more than the one before
  int64_t seen;  // by any of them
};

inline AttentionBlock block_of(const AttentionProblem& p, int64_t queries, int64_t head, int64_t first) {
  AttentionBlock b{head / p.heads, head % p.heads, first, std::min(queries, p.queries - first)};
  b.sees = p.causal ? first + p.keys - p.queries + 1 : p.keys;
  b.seen = p.causal ? std::clamp<int64_t>(b.sees + b.count - 1, 0, p.keys) : p.keys;
  return b;
}

// Those of one task.
struct AttentionBlocks {
  const AttentionProblem& p;
  int64_t queries;  // of a block
  Part part;

  // Calls prepare(block) where a head begins, and compute(block).
  template <class Prepare, class Compute>
  void each(const Prepare& prepare, const Compute& compute) const {
    const int64_t blocks = ceil_div(p.queries, queries);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const AttentionBlock block = block_of(p, queries, u / blocks, u % blocks * queries);
      if (u == part.begin || block.first == 0) prepare(block);
      compute(block);
    }
  }
};

// Calls task(worker, blocks of so many queries) on the threads of the pool.
template <class Task>
void share_blocks(const AttentionProblem& p, int64_t queries, ThreadPool& pool, const Task& task) {
  const int64_t units = p.batch * p.heads * ceil_div(p.queries, queries);
  const int64_t tasks = std::min(units, task_count(units, 1, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int worker) {
    task(worker, AttentionBlocks{p, queries, part_of(units, t, tasks)});
  });
}

// y[c][r] = x[r][c], of elements of 4 bytes, as many as are given from row to row.
inline void turn(const void* x, int64_t x_row, int64_t rows, int64_t cols, void* y, int64_t y_row) {
  transpose_tiles(Tier::avx512)
      .bytes4({static_cast<const char*>(x), static_cast<char*>(y), rows, cols, x_row * 4, y_row * 4});
}

// What softmax reads of a block's scores, which lie at `scores`, `ld` from key to key; a mask that differs by query is
// turned into `turned`, which lies as they do.
inline AttentionScores scores_of(const AttentionProblem& p, const AttentionBlock& b, float* scores, int64_t ld,
                                 const float* mask, float* turned, float* inverse) {
  AttentionScores s{.scores = scores,
                    .ld = ld,
                    .keys = b.seen,
                    .queries = b.count,
                    .scale = p.scale,
                    .mask = mask == nullptr ? nullptr : mask + b.item * p.mask.batch + b.head * p.mask.head,
                    .mask_key = 1,
                    .mask_query = 0,
                    .seen = b.sees,
                    .inverse = inverse};
  if (s.mask == nullptr || p.mask.row == 0) return s;
  turn(s.mask + b.first * p.mask.row, p.mask.row, b.count, b.seen, turned, ld);
  s.mask = turned;
  s.mask_key = ld;
  s.mask_query = 1;
  return s;
}

}  // namespace hone::cpu
