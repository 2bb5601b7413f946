// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/gemm.h"

#include <algorithm>

#include "kernels/cpu/gemm/fip.h"
#include "kernels/cpu/gemm/strassen.h"

namespace hone::cpu {
namespace {

struct Rows {
  const float* a;
  int64_t lda;
};

void fill_rows(const void* context, int64_t row0, int64_t m, const float** rows, int64_t, float*) {
  const auto& r = *static_cast<const Rows*>(context);
  for (int64_t i = 0; i < m; ++i) rows[i] = r.a + (row0 + i) * r.lda;
}

DenseShape shape_of(const GemmProblem& p) { return {.m = p.m, .n = p.n, .taps = 1, .depth = p.k, .batch = p.batch}; }

StrassenShape strassen_shape(const GemmProblem& p, bool fip) {
  return {.items = p.batch, .rows = p.m, .n = p.n, .k = p.k, .fip = fip};
}

// With items enough to go round, threads take whole items.
DenseBlocking blocking_of(const GemmProblem& p, const GemmContext& ctx) {
  const int threads = p.batch >= int64_t{2} * ctx.threads ? 1 : ctx.threads;
  return choose_blocking(shape_of(p), ctx.tier, threads, ctx.tuning);
}

// A few rows read B once, so packing it would cost more than the product.
bool reads_b_in_place(const GemmProblem& p, const GemmContext& ctx, bool transposed) {
  return !transposed && p.m <= int64_t{2} * panel_kernel(ctx.tier).mr;
}

DenseJob job_of(const GemmProblem& p, const GemmContext& ctx, const Rows& rows, float* c, const Epilogue& ep) {
  DenseJob job;
  job.shape = shape_of(p);
  job.tier = ctx.tier;
  job.blocking = blocking_of(p, ctx);
  job.fill_rows = fill_rows;
  job.context = &rows;
  job.a_stride = p.stride_a;
  job.b_ld = panel_kernel(ctx.tier).nr;
  job.panel_stride = job.b_ld * p.k;
  job.b_stride = p.stride_b;
  job.c = c;
  job.ldc = p.ldc > 0 ? p.ldc : p.n;
  job.c_stride = p.stride_c;
  job.epilogue = ep;
  return job;
}

}  // namespace

size_t gemm_packed_bytes(int64_t n, int64_t k, Tier tier) {
  return static_cast<size_t>(packed_floats(n, k, tier)) * sizeof(float);
}

void gemm_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, float* packed) {
  const int nr = panel_kernel(tier).nr;
  for (int64_t panel = 0; panel * nr < n; ++panel)
    pack_panel(b, ldb, transposed, n, k, panel, nr, packed + panel * nr * k);
}

size_t gemm_workspace_bytes(const GemmProblem& p, const GemmContext& ctx) {
  return dense_workspace_bytes(shape_of(p), ctx.tier, blocking_of(p, ctx), ctx.threads);
}

void gemm(const GemmProblem& p, const GemmContext& ctx, const float* a, const float* packed_b, float* c,
          const Epilogue& ep, void* workspace, ThreadPool& pool) {
  const Rows rows{a, p.lda > 0 ? p.lda : p.k};
  DenseJob job = job_of(p, ctx, rows, c, ep);
  job.b = packed_b;
  run_dense(job, pool, workspace);
}

template <bool FIP>
size_t gemm_strassen_workspace_bytes(const GemmProblem& p, const GemmContext& ctx) {
  return strassen_workspace_bytes(strassen_shape(p, FIP), ctx.tier, ctx.threads, ctx.tuning);
}

template <bool FIP>
void gemm_strassen(const GemmProblem& p, const GemmContext& ctx, const float* a, const float* packed_b, float* c,
                   const Epilogue& ep, void* workspace, ThreadPool& pool) {
  const Rows rows{a, p.lda > 0 ? p.lda : p.k};
  DenseJob job = job_of(p, ctx, rows, c, ep);
  job.b = packed_b;
  run_strassen(strassen_shape(p, FIP), ctx.tuning, job, pool, workspace);
}

template size_t gemm_strassen_workspace_bytes<false>(const GemmProblem&, const GemmContext&);
template size_t gemm_strassen_workspace_bytes<true>(const GemmProblem&, const GemmContext&);
template void gemm_strassen<false>(const GemmProblem&, const GemmContext&, const float*, const float*, float*,
                                   const Epilogue&, void*, ThreadPool&);
template void gemm_strassen<true>(const GemmProblem&, const GemmContext&, const float*, const float*, float*,
                                  const Epilogue&, void*, ThreadPool&);

size_t gemm_fip_workspace_bytes(const GemmProblem& p, const GemmContext& ctx) {
  DenseShape shape = shape_of(p);
  shape.fip = true;
  return dense_workspace_bytes(shape, ctx.tier, blocking_of(p, ctx), ctx.threads);
}

void gemm_fip(const GemmProblem& p, const GemmContext& ctx, const float* a, const float* packed_b, float* c,
              const Epilogue& ep, void* workspace, ThreadPool& pool) {
  const Rows rows{a, p.lda > 0 ? p.lda : p.k};
  DenseJob job = job_of(p, ctx, rows, c, ep);
  job.shape.fip = true;
  job.b = packed_b;
  job.panel_stride = fip_panel_floats(p.k, job.b_ld);
  run_dense(job, pool, workspace);
}

size_t gemm_filled_workspace_bytes(const GemmProblem& p, const GemmContext& ctx) {
  DenseShape shape = shape_of(p);
  shape.filled = true;
  return dense_workspace_bytes(shape, ctx.tier, blocking_of(p, ctx), ctx.threads);
}

void gemm_filled(const GemmProblem& p, const GemmContext& ctx, const float* a, const PanelFiller& b, float* c,
                 const Epilogue& ep, void* workspace, ThreadPool& pool) {
  const Rows rows{a, p.lda > 0 ? p.lda : p.k};
  DenseJob job = job_of(p, ctx, rows, c, ep);
  job.shape.filled = true;
  job.fill_panel = b.fill;
  job.panel_context = b.context;
  run_dense(job, pool, workspace);
}

size_t gemm_unpacked_workspace_bytes(const GemmProblem& p, const GemmContext& ctx, bool transposed_b) {
  const int64_t items = p.stride_b == 0 ? 1 : p.batch;
  const int64_t nr = panel_kernel(ctx.tier).nr;
  const int64_t item = reads_b_in_place(p, ctx, transposed_b) ? nr * p.k : packed_floats(p.n, p.k, ctx.tier);
  const size_t driver = (gemm_workspace_bytes(p, ctx) + kAlign - 1) / kAlign * kAlign;
  return driver + static_cast<size_t>(items * item) * sizeof(float);
}

void gemm_unpacked(const GemmProblem& p, const GemmContext& ctx, const float* a, const PlainB& b, float* c,
                   const Epilogue& ep, void* workspace, ThreadPool& pool) {
  const Rows rows{a, p.lda > 0 ? p.lda : p.k};
  DenseJob job = job_of(p, ctx, rows, c, ep);
  const size_t driver = (gemm_workspace_bytes(p, ctx) + kAlign - 1) / kAlign * kAlign;
  auto* packed = reinterpret_cast<float*>(static_cast<char*>(workspace) + driver);
  const int nr = panel_kernel(ctx.tier).nr;
  const int64_t panels = ceil_div(p.n, nr), items = p.stride_b == 0 ? 1 : p.batch;

  const bool in_place = reads_b_in_place(p, ctx, b.transposed);
  const int64_t first = !in_place ? 0 : p.n % nr == 0 ? panels : panels - 1;
  const int64_t packed_panels = panels - first, item = packed_panels * nr * p.k;
  pool.parallel(items * packed_panels, [&](int64_t i, int) {
    const int64_t panel = first + i % packed_panels;
    pack_panel(b.data + i / packed_panels * p.stride_b, b.ld, b.transposed, p.n, p.k, panel, nr, packed + i * nr * p.k);
  });
  if (in_place) {
    job.b = b.data;
    job.b_ld = b.ld;
    job.panel_stride = nr;
    job.b_tail = packed;
    job.b_tail_stride = p.stride_b == 0 ? 0 : item;
  } else {
    job.b = packed;
    job.b_stride = p.stride_b == 0 ? 0 : item;
  }
  run_dense(job, pool, workspace);
}

}  // namespace hone::cpu
