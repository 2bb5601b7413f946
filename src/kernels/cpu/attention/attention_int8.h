// Attention by products of bytes, for CPUs with AVX-512 VNNI.
#pragma once

#include "kernels/cpu/attention/attention.h"

namespace hone::cpu {

// Why these kernels cannot do it, or null.
const char* attention_int8_supports(const AttentionProblem& p);
size_t attention_int8_workspace_bytes(const AttentionProblem& p, int threads);

// As attention(), of the numbers that q, k and v hold: y = result_scale * softmax(scale * q k^T + mask) v in f32, or
// its nearest i8. Scores are exact but for their scale. A query's weights, e^(score - its largest score), are rounded
// to 255ths before they are added up and multiply the values. The depth is a multiple of 4.
struct AttentionInt8Args {
  const int8_t *q, *k, *v;
  const float* mask = nullptr;  // may be null
  float result_scale = 1;
  bool quantizes = false;  // y is i8
  void* y;                 // must not overlap the inputs
  void* workspace;
  ThreadPool* pool;
};
void attention_int8(const AttentionProblem& p, const AttentionInt8Args& args);

}  // namespace hone::cpu
