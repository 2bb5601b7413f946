// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 attention: y = softmax(scale * q k^T + mask) v for each head of each batch item, in blocks of query rows whose
// scores stay in L2.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/thread_pool.h"

namespace hone::cpu {

// Strides in elements; the innermost dim of q, k, v and y is contiguous.
struct AttentionStrides {
  int64_t batch = 0, head = 0, row = 0;
};

struct AttentionProblem {
  int64_t batch = 1;
  int64_t heads = 1, kv_heads = 1;  // heads is a multiple of kv_heads: query head h uses h / (heads / kv_heads)
  int64_t queries = 1, keys = 1;
  int64_t depth = 1, value_depth = 1;
  AttentionStrides q, k, v, y;
  float scale = 1.f;
  AttentionStrides mask;  // of the additive mask, [queries, keys] for each item and head; 0 broadcasts
  bool causal = false;    // query i sees keys up to i + keys - queries
};

// T: float or bf16. `mask` may be null; y must not overlap the others.
template <class T>
struct AttentionTensors {
  const T *q, *k, *v;
  const float* mask;
  T* y;
};

const char* attention_supports(const AttentionProblem& p);
size_t attention_workspace_bytes(const AttentionProblem& p, Tier tier, int threads, bool in_bf16 = false);

// A row that sees no key gives zeros.
void attention(const AttentionProblem& p, Tier tier, const AttentionTensors<float>& of, void* workspace,
               ThreadPool& pool);
// Of q, k, v and y that lie in memory as bf16, for CPUs with AVX-512 BF16, at the tier avx512: of up to 4 queries in
// fp32, of more by products of bf16, with weights rounded to bf16.
void attention(const AttentionProblem& p, Tier tier, const AttentionTensors<bf16>& of, void* workspace,
               ThreadPool& pool);

}  // namespace hone::cpu
