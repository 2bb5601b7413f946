// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 layer, RMS, group and instance normalisation. Means and variances are summed in blocks that meet in a double.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_info.h"
#include "base/dtype.h"
#include "base/thread_pool.h"

namespace hone::cpu {

// Each of `rows` rows of `length` contiguous values: (x - mean) / sqrt(variance + epsilon) * scale + bias; rms: no
// mean.
struct LayerNormProblem {
  int64_t rows = 1, length = 1;
  float epsilon = 1e-5f;
  bool rms = false;
};

const char* layer_norm_supports(const LayerNormProblem& p);

// A value a row, or null.
struct LayerNormStatistics {
  float *mean = nullptr, *inverse_deviation = nullptr;
};

// Scale and bias have `length` values or are null; y may be x.
void layer_norm(const LayerNormProblem& p, Tier tier, const float* x, const float* scale, const float* bias, float* y,
                ThreadPool& pool, const LayerNormStatistics& statistics = {});
// Of bf16 in memory: for CPUs with AVX-512 BF16, whatever the tier.
void layer_norm(const LayerNormProblem& p, Tier tier, const bf16* x, const float* scale, const float* bias, bf16* y,
                ThreadPool& pool);

// x is NHWC: [batch, pixels, channels], normalised over all pixels of each of `groups` equal runs of channels
// (groups == channels: instance norm).
struct GroupNormProblem {
  int64_t batch = 1, pixels = 1, channels = 1, groups = 1;
  float epsilon = 1e-5f;
  int64_t in_ldc = 0, out_ldc = 0;  // elements from pixel to pixel; 0: channels
};

const char* group_norm_supports(const GroupNormProblem& p);
size_t group_norm_workspace_bytes(const GroupNormProblem& p, int threads);

// Scale and bias have `channels` values or are null; y may be x when the pitches are equal.
void group_norm(const GroupNormProblem& p, Tier tier, const float* x, const float* scale, const float* bias, float* y,
                void* workspace, ThreadPool& pool);
void group_norm(const GroupNormProblem& p, Tier tier, const bf16* x, const float* scale, const float* bias, bf16* y,
                void* workspace, ThreadPool& pool);

}  // namespace hone::cpu
