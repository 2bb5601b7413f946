#pragma once

#include "tactics/cuda/kernel.h"

// What the kernels for attention share. Problems are attention alone, or with elementwise work on its result.
namespace hone::cuda {

// Where an operand's element [batch][head][row][i] lies.
struct AttentionOperand {
  const char* name;
  int64_t offset, batch, head, row;

  // A function of the source that points at a row; `heads_a_head` heads share one of the operand's.
  std::string at(const char* function, int64_t heads_a_head) const;
};

struct AttentionGeometry {
  int64_t batch, heads, kv_heads, queries, keys, size, v_size;
  AttentionOperand q, k, v, y;
};

AttentionGeometry attention_geometry(const Problem& problem);
// Why no kernel can do the problem, or empty.
std::string refuse_attention(const Problem& problem);
// What kernels/cuda/attention.cuh asks for, and `typedef ... A`, the type of the elements.
std::string attention_definitions(const Problem& problem);

}  // namespace hone::cuda
