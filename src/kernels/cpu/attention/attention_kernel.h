// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The per-tier half of attention: a block of queries, one a lane, whose scores lie key by key.
#pragma once

#include <cstdint>

#include "base/cpu_info.h"

namespace hone::cpu {

// scores[key * ld + query] become e^(scale * score + mask - the query's largest), 0 where it does not see the key.
struct AttentionScores {
  float* scores;
  int64_t ld;
  int64_t keys, queries;  // at most a block of queries
  float scale;
  const float* mask;             // added: mask[key * mask_key + query * mask_query]; null: none
  int64_t mask_key, mask_query;  // mask_query is 0 or 1
  int64_t seen;                  // keys that query 0 sees; each query sees one more than the one before
  float* inverse;                // of each query: 1 / the sum of its results, 0 if it sees no key
};

// y[query * y_ld + d] = inverse[query] * sum over keys of scores[key * ld + query] * v[key * v_ld + d].
struct AttentionValues {
  const float* scores;
  int64_t ld;
  int64_t keys, queries;
  const float* inverse;
  const float* v;       // has whole vectors, depth rounded up
  int64_t v_ld, depth;  // depth: at most two vectors
  float* y;
  int64_t y_ld;
};

struct AttentionKernel {
  void (*softmax)(const AttentionScores& job);
  void (*normalize)(const AttentionScores& job);  // behind softmax: so that the results of a query sum to 1
  void (*weigh)(const AttentionValues& job);
};

// The tier must not exceed what the CPU has. A block is as many queries as a panel of panel_kernel(tier) has columns.
const AttentionKernel& attention_kernel(Tier tier);

}  // namespace hone::cpu
