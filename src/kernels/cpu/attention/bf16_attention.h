// Attention by products of bf16, for blocks of queries; attention.cc has what few queries need.
#pragma once

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/bf16/bf16.h"

namespace hone::cpu {

size_t attention_bf16_workspace_bytes(const AttentionProblem& p, const Bf16Kernel& kernel, int threads);

// As attention(). Scores are summed and become weights in f32; the weights are rounded to bf16, the results too.
void attention_bf16(const AttentionProblem& p, const Bf16Kernel& kernel, const AttentionTensors<bf16>& of,
                    void* workspace, ThreadPool& pool);

}  // namespace hone::cpu
