// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Fast inner products: S. Winograd, "A new algorithm for inner product", IEEE Trans. Computers C-17 (1968):
//
//   a1 b1 + a2 b2 = (a1 + b2) (a2 + b1) - a1 a2 - b1 b2 = a1 a2 + b1 b2 - (b2 - a1) (b1 - a2)
//
// What is subtracted belongs to a row of A or a column of B, so that two additions and one product take the place of
// two products. Of three values of a sum two are paired so and one is multiplied as it is: a CPU with adders beside its
// multipliers (AMD's) then has both busy, and makes three products in the time of two. That takes AVX-512, which adds a
// value from memory to all lanes in one instruction.
//
// Rows and columns are scaled by powers of two to a norm of about 1: sums of A's and B's then round no worse than a
// plain sum of products does, as |a1 + b2| is bounded by norms that are alike (R. P. Brent, "Error analysis of
// algorithms for matrix multiplication and triangular decomposition using Winograd's identity", 1970). Pairs take
// either form in turns, but for a few at the end, so that what is subtracted nearly cancels where all values of a row
// have one sign.
#pragma once

#include "kernels/cpu/gemm/panel.h"

namespace hone::cpu {

// A sum comes in groups of three parts: values to multiply as they are, and those of which one is paired with one of
// the other. Parts are of 8 values, those of the last group of as many as are left; one or two values that then remain
// are multiplied as they are.
constexpr int64_t kFipPart = 8, kFipGroup = 3 * kFipPart;

constexpr int kFipRows = 8;  // of a register tile

// A prepared row: what its sums are multiplied by, what they start from, and its values, scaled.
constexpr int64_t kFipHead = 16;  // floats: a line
constexpr int64_t fip_row_floats(int64_t k) { return (k + 15) / 16 * 16 + kFipHead; }

struct FipRows {
  const float* const* rows;  // `m` of `k` values
  int64_t m, k;
  float* to;      // may be where a row's values lie, less kFipHead
  int64_t apart;  // floats from one prepared row to the next
};
void fip_prepare(const FipRows& job);

// rows[0] is the first of prepared rows that are rows_apart floats from each other, b a panel of fip_pack(), taps is 1;
// of a_offset, k_block and partial nothing is read.
void fip_run(const PanelJob& job);

// Of B: see fip_pack().
constexpr int64_t fip_panel_floats(int64_t k, int64_t nr) { return (k + 2) * nr; }

}  // namespace hone::cpu
