// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// What fast inner products (fip_kernel.h) take besides their kernel.
#pragma once

#include <vector>

#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/gemm/fip_kernel.h"

namespace hone::cpu {

// nullptr, or why not: of m rows, and sums of k.
const char* refuse_fip(int64_t m, int64_t k);

// B[k][n] (or its transpose, n rows of k) as panels: what a column is multiplied by, what it starts from, its values,
// scaled, in the order in which they are used; [panel][2 + k][nr].
size_t fip_packed_bytes(int64_t n, int64_t k, Tier tier);
void fip_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, float* packed);
void fip_pack_panel(const float* panel, int64_t k, int64_t nr, float* packed);  // of pack_panel()

// What is worth timing, the default first.
std::vector<DenseTuning> fip_tunings(const DenseShape& shape, Tier tier, int threads);

// ConvAlgorithm::error_bound for sums of k products, by the model of conv/winograd_error.h: whatever the weights; and
// what roundings come to in it.
double fip_error(int64_t k);
double fip_roundings(int64_t k);

}  // namespace hone::cpu
