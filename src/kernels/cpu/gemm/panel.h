// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The one inner kernel under GEMM and every dense convolution: a block of rows, given by pointers,
// times one packed panel of columns.
//
//   C[i][j] = epilogue(sum over t < taps, k < depth of
//                      rows[t * rows_ld + i][a_offset + k] * B[t * depth + k][j])
//
// for i < m, j < n. A row pointer per (tap, row) lets a convolution read its NHWC input in place:
// a tap that falls into the padding points to a row of zeros. C is written where rows are `ldc` apart.
// B is a panel of `nr` columns, zero padded, b_ld floats from one k to the next.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_info.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace hone::cpu {

// Whether a sum of so many values is made at once, not a k_block at a time.
constexpr bool is_whole(int64_t sum, int64_t k_block) { return sum <= k_block + k_block / 2; }

struct PanelJob {
  const float* const* rows = nullptr;
  int64_t rows_ld = 0;
  int64_t rows_apart = 0;  // of one tap: floats from each row to the next where they are the same for all, else 0
  int64_t a_offset = 0;    // which batch item or channel group of the rows
  int64_t m = 0, n = 0;
  int64_t taps = 1, depth = 0;
  const float* b = nullptr;
  int64_t b_ld = 0;
  int64_t k_block = 0;       // longest stretch of taps * depth summed in one go; its B stays in L1
  float* partial = nullptr;  // m * nr floats, used when taps * depth exceeds k_block
  // Sums of m * nr floats: what the products are added to, and where they are left instead of being finished and
  // stored in C. `sums` may be one of `start`.
  const float* start[2] = {};
  float* sums = nullptr;
  float* c = nullptr;
  int64_t ldc = 0;
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;      // of the panel's first column
  const float* residual = nullptr;  // of the block's first element, row stride ldc
};

// The sums of a row's quarters that Strassen's products take, `half` floats each (see strassen.h).
struct QuarterSums {
  const float* top;     // A11 and, half floats on, A12
  const float* bottom;  // A21 and A22
  int64_t half;
  float* s1;  // A21 + A22
  float* s2;  // s1 - A11
  float* s3;  // A11 - A21
  float* s4;  // A12 - s2
};

struct PanelKernel {
  int mr;  // rows of the register tile
  int nr;  // columns of a panel
  void (*run)(const PanelJob& job);
  void (*add_quarters)(const QuarterSums& job);
};

// The tier must not exceed what the CPU has.
const PanelKernel& panel_kernel(Tier tier);

}  // namespace hone::cpu
