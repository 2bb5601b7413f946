// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 matrix product C = epilogue(A * B), row major.
#pragma once

#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {

// Batch items are stride_* floats apart; stride_b 0 shares one B. The epilogue's bias is shared by
// the batch; its residual has C's strides, and its hook sees each item's rows from 0.
struct GemmProblem {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldc = 0;  // 0: dense
  int64_t batch = 1, stride_a = 0, stride_b = 0, stride_c = 0;
};

struct GemmContext {
  Tier tier = best_tier();
  int threads = 1;  // size of the pool that gemm() will get
  DenseTuning tuning = {};
};

// Packed B of one batch item; both pointers 64-byte aligned. `transposed`: b has n rows of k values.
size_t gemm_packed_bytes(int64_t n, int64_t k, Tier tier);
void gemm_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, float* packed);

// With B packed beforehand; stride_b counts floats of packed data.
size_t gemm_workspace_bytes(const GemmProblem& p, const GemmContext& ctx);
void gemm(const GemmProblem& p, const GemmContext& ctx, const float* a, const float* packed_b, float* c,
          const Epilogue& ep, void* workspace, ThreadPool& pool);

// With B from strassen_pack(), FIP as it was there; the batch's items are those of StrassenShape, lda and ldc floats
// between all rows.
template <bool FIP>
size_t gemm_strassen_workspace_bytes(const GemmProblem& p, const GemmContext& ctx);
template <bool FIP>
void gemm_strassen(const GemmProblem& p, const GemmContext& ctx, const float* a, const float* packed_b, float* c,
                   const Epilogue& ep, void* workspace, ThreadPool& pool);

// With B from fip_pack(); one B.
size_t gemm_fip_workspace_bytes(const GemmProblem& p, const GemmContext& ctx);
void gemm_fip(const GemmProblem& p, const GemmContext& ctx, const float* a, const float* packed_b, float* c,
              const Epilogue& ep, void* workspace, ThreadPool& pool);

struct PlainB {
  const float* data;
  int64_t ld;  // floats from row to row
  bool transposed;
};

// With B as it is, packed into the workspace on the way.
size_t gemm_unpacked_workspace_bytes(const GemmProblem& p, const GemmContext& ctx, bool transposed_b);
void gemm_unpacked(const GemmProblem& p, const GemmContext& ctx, const float* a, const PlainB& b, float* c,
                   const Epilogue& ep, void* workspace, ThreadPool& pool);

// With panels of B, [k][columns of panel_kernel()], made when they are needed, once for each block of rows; one B.
struct PanelFiller {
  void (*fill)(const void* context, int64_t panel, float* to);
  const void* context;
};
size_t gemm_filled_workspace_bytes(const GemmProblem& p, const GemmContext& ctx);
void gemm_filled(const GemmProblem& p, const GemmContext& ctx, const float* a, const PanelFiller& b, float* c,
                 const Epilogue& ep, void* workspace, ThreadPool& pool);

}  // namespace hone::cpu
