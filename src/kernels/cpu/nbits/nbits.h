// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 matrix product by weights of 4 or 8 bits: C = epilogue(A * W^T), A [m][k], W [n][k], all row major.
//   W[j][i] = (code[j][i] - zero[j][i / block]) * scale[j][i / block]
// Weights stay packed in memory. nbits_rows() unpacks them in registers for each few rows of A, which suits few rows,
// bound by memory; nbits_panels() unpacks a panel into the cache and multiplies as gemm() does, which suits many.
#pragma once

#include "kernels/cpu/gemm/gemm.h"

namespace hone::cpu {

struct NBitsProblem {
  int64_t m = 0, n = 0, k = 0;
  int bits = 4;  // or 8
  int64_t block = 32;
  bool centred = true;  // each zero is 2^(bits - 1): none is stored
};

// Unsigned codes, each block of a row beginning with a byte of its own, the first code in the lowest bits; scales and
// zeros are [n][ceil(k / block)].
struct NBitsWeights {
  const uint8_t* codes;
  const float *scales, *zeros;
};

// Packed weights are 64-byte aligned, and of the tier.
size_t nbits_packed_bytes(const NBitsProblem& p, Tier tier);
void nbits_pack(const NBitsProblem& p, const NBitsWeights& weights, Tier tier, void* packed);

// Threads share out columns.
void nbits_rows(const NBitsProblem& p, Tier tier, const float* a, const void* packed, float* c, const Epilogue& ep,
                ThreadPool& pool);

size_t nbits_panels_workspace_bytes(const NBitsProblem& p, const GemmContext& ctx);
void nbits_panels(const NBitsProblem& p, const GemmContext& ctx, const float* a, const void* packed, float* c,
                  const Epilogue& ep, void* workspace, ThreadPool& pool);

}  // namespace hone::cpu
