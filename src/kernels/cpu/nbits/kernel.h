// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// What is compiled for each tier: work on one panel of packed weights, as many columns as a panel of gemm() has.
//
// A panel is a run of blocks along k. A block is a float of scale for each column, a float of zero - 2^(bits - 1) for
// each unless the problem is centred, and then words of 32 bits: word w of column j holds the codes k = w * 32 / bits
// and following, the first in the lowest bits, less 2^(bits - 1) each, as two's complement.
#pragma once

#include "kernels/cpu/nbits/nbits.h"

namespace hone::cpu {

constexpr int64_t nbits_codes_per_word(const NBitsProblem& p) { return 32 / p.bits; }
constexpr int64_t nbits_blocks(const NBitsProblem& p) { return ceil_div(p.k, p.block); }
// Words of one column of block `b`: the last block may be shorter.
constexpr int64_t nbits_words(const NBitsProblem& p, int64_t b) {
  return ceil_div(std::min(p.block, p.k - b * p.block), nbits_codes_per_word(p));
}

struct NBitsPanel {
  const NBitsProblem& problem;
  const uint32_t* packed;
  int64_t columns;  // that exist
  // Of the panel's first column.
  const float* a;
  float* c;
  const Epilogue& epilogue;
  const float *bias, *residual;
};

struct NBitsKernel {
  void (*multiply)(const NBitsPanel& panel);
  // The weights as floats, [k][columns of a panel].
  void (*unpack)(const NBitsProblem& p, const uint32_t* packed, float* to);
};

const NBitsKernel& nbits_kernel(Tier tier);

}  // namespace hone::cpu
