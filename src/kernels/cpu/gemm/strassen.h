// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 product by one level of Strassen's algorithm in Winograd's form (V. Strassen, "Gaussian elimination is not
// optimal", 1969; S. Winograd, 1971): rows, columns and the sum are halved, and seven products of quarters, of sums of
// A's and sums of B's, take the place of eight. Those of B are made when it is packed, those of A once for each block
// of rows; the products are added where they are summed, in the panel kernel's registers.
#pragma once

#include <vector>

#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {

// A's rows are those of `items` items of a batch, one after the other. Rows are added to others of their own item only,
// so that what is large or not a number in one item stays there.
struct StrassenShape {
  int64_t items = 1, rows = 0, n = 0, k = 0;
  bool fip = false;  // the seven products by fast inner products (fip_kernel.h)
};

// nullptr, or why not.
const char* refuse_strassen(const StrassenShape& shape);

// B[k][n], or its transpose, as sums of quarters of two panels at a time.
size_t strassen_packed_bytes(int64_t n, int64_t k, Tier tier, bool fip);
void strassen_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, bool fip,
                   float* packed);

// What is worth timing, the default first.
std::vector<DenseTuning> strassen_tunings(const StrassenShape& shape, Tier tier, int threads);

// Runs a job as run_dense() does, with B from strassen_pack(); of its shape and blocking nothing is read.
size_t strassen_workspace_bytes(const StrassenShape& shape, Tier tier, int threads, const DenseTuning& tuning);
void run_strassen(const StrassenShape& shape, const DenseTuning& tuning, const DenseJob& job, ThreadPool& pool,
                  void* workspace);

// ConvAlgorithm::error_bound for sums of k products, by the model of conv/winograd_error.h: whatever the weights.
double strassen_error(int64_t k, bool fip);

}  // namespace hone::cpu
