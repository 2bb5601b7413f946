// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/dense.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "kernels/cpu/gemm/fip_kernel.h"

namespace hone::cpu {
namespace {

// Each worker's part of the workspace.
struct WorkerLayout {
  size_t rows, partial, scratch, panel, prepared, total;  // offsets; the row block last prepared comes first
};

WorkerLayout layout_of(const DenseShape& s, int nr, const DenseBlocking& b) {
  const size_t row_block = static_cast<size_t>(b.row_block);
  const auto padded = [](size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; };
  WorkerLayout l{};
  l.rows = kAlign;
  l.partial = l.rows + padded(row_block * static_cast<size_t>(s.taps) * sizeof(float*));
  l.scratch = l.partial + padded(row_block * static_cast<size_t>(nr) * sizeof(float));
  const size_t scratch = s.scratch ? row_block * static_cast<size_t>(s.taps * s.depth) : 0;
  l.panel = l.scratch + padded(scratch * sizeof(float));
  const size_t panel = s.filled ? static_cast<size_t>(nr * s.taps * s.depth) : 0;
  l.prepared = l.panel + padded(panel * sizeof(float));
  const size_t prepared = s.fip ? row_block * static_cast<size_t>(fip_row_floats(s.taps * s.depth)) : 0;
  // One line more, so that the workers' areas do not all start in one set of the cache.
  l.total = l.prepared + padded(prepared * sizeof(float)) + kAlign;
  return l;
}

// Rows cost nothing extra to share; columns make every thread read all of A but only its part of B.
bool prefers_columns(const DenseShape& s, const PanelKernel& kernel, int64_t threads) {
  const int64_t tiles = ceil_div(s.m, kernel.mr), panels = ceil_div(s.n, kernel.nr);
  if (s.batch * panels < threads) return false;
  if (tiles < 2 * threads) return true;
  const int64_t per_thread = ceil_div(tiles, threads);
  const bool rows_uneven = per_thread * threads * 8 > tiles * 9;
  const bool columns_even = panels % threads == 0 || panels >= 8 * threads;
  return columns_even && (rows_uneven || s.n > 2 * s.m);
}

}  // namespace

int64_t distance_between(const float* const* rows, int64_t m) {
  if (m < 2) return 0;
  const int64_t apart = rows[1] - rows[0];
  for (int64_t i = 2; i < m; ++i)
    if (rows[i] - rows[i - 1] != apart) return 0;
  return apart;
}

DenseBlocking choose_blocking(const DenseShape& s, Tier tier, int threads, const DenseTuning& tuning) {
  const PanelKernel& kernel = panel_kernel(tier);
  const CpuInfo& cpu = cpu_info();
  DenseBlocking b;
  b.k_block = tuning.k_block > 0 ? tuning.k_block : cpu.l1d / (kernel.nr * static_cast<int64_t>(sizeof(float)));
  // A tap more shifts the window by one row, so the distinct input of a block grows slowly with taps.
  const int64_t row_bytes = s.depth * (s.scratch ? s.taps : s.taps > 1 ? 2 : 1) * 4;
  int64_t rows = tuning.row_block > 0 ? tuning.row_block
                                      : std::clamp<int64_t>(cpu.l2 / 2 / std::max<int64_t>(row_bytes, 1),
                                                            int64_t{4} * kernel.mr, int64_t{32} * kernel.mr);
  const int64_t panels = ceil_div(s.n, kernel.nr);
  b.panel_block = panels;
  const bool columns = tuning.split > 0 ? tuning.split == 2 : prefers_columns(s, kernel, threads);
  int64_t blocks = std::max<int64_t>(1, ceil_div(s.m, rows));
  if (threads > 1 && columns) b.panel_block = ceil_div(panels, threads);
  // Equal blocks, as many for each thread: the register tiles of a block get equal heights, too.
  if (threads > 1 && !columns) blocks = round_up(blocks, threads);
  b.row_block = std::max<int64_t>(1, ceil_div(s.m, blocks));
  return b;
}

size_t dense_workspace_bytes(const DenseShape& s, Tier tier, const DenseBlocking& b, int threads) {
  return layout_of(s, panel_kernel(tier).nr, b).total * static_cast<size_t>(threads);
}

namespace {

struct Task {
  int64_t row0, m, batch, panel0, panel1;
};

// What a worker's pointers to rows are of.
struct RowBlock {
  int64_t row0 = -1;
  int64_t apart = 0;  // see PanelJob::rows_apart
};
static_assert(sizeof(RowBlock) <= kAlign);

// Replaces pointers to each tap of rows by those to prepared rows at `to`, of all taps.
void prepare_fip(const DenseShape& s, int64_t m, const float** rows, int64_t rows_ld, float* to) {
  const int64_t k = s.taps * s.depth, apart = fip_row_floats(k);
  for (int64_t i = 0; i < m && s.taps > 1; ++i) {
    float* const values = to + i * apart + kFipHead;
    for (int64_t t = 0; t < s.taps; ++t) std::copy_n(rows[t * rows_ld + i], s.depth, values + t * s.depth);
    rows[i] = values;
  }
  fip_prepare({rows, m, k, to, apart});
  for (int64_t i = 0; i < m; ++i) rows[i] = to + i * apart;
}

void run_task(const DenseJob& job, const PanelKernel& kernel, const WorkerLayout& l, const Task& t, char* mine) {
  const DenseShape& s = job.shape;
  auto** rows = reinterpret_cast<const float**>(mine + l.rows);
  auto& prepared = *reinterpret_cast<RowBlock*>(mine);
  if (prepared.row0 != t.row0) {
    job.fill_rows(job.context, t.row0, t.m, rows, job.blocking.row_block, reinterpret_cast<float*>(mine + l.scratch));
    if (s.fip) prepare_fip(s, t.m, rows, job.blocking.row_block, reinterpret_cast<float*>(mine + l.prepared));
    prepared = {t.row0, s.taps == 1 || s.fip ? distance_between(rows, t.m) : 0};
  }
  PanelJob p;
  p.rows = rows;
  p.rows_ld = job.blocking.row_block;
  p.rows_apart = prepared.apart;
  p.a_offset = t.batch * job.a_stride;
  p.m = t.m;
  p.taps = s.fip ? 1 : s.taps;
  p.depth = s.fip ? s.taps * s.depth : s.depth;
  p.b_ld = job.b_ld;
  p.k_block = job.blocking.k_block;
  p.partial = reinterpret_cast<float*>(mine + l.partial);
  p.ldc = job.ldc;
  p.epilogue = &job.epilogue;
  const Epilogue& ep = job.epilogue;
  for (int64_t panel = t.panel0; panel < t.panel1; ++panel) {
    const int64_t col = panel * kernel.nr;
    const int64_t offset = t.batch * job.c_stride + t.row0 * job.ldc + col;
    p.n = std::min<int64_t>(kernel.nr, s.n - col);
    if (job.fill_panel != nullptr) {
      auto* const made = reinterpret_cast<float*>(mine + l.panel);
      job.fill_panel(job.panel_context, panel, made);
      p.b = made;
    } else {
      p.b = job.b + t.batch * job.b_stride + panel * job.panel_stride;
    }
    if (job.b_tail != nullptr && p.n < kernel.nr) {
      p.b = job.b_tail + t.batch * job.b_tail_stride;
      p.b_ld = kernel.nr;
    }
    p.c = job.c + offset;
    p.bias = ep.bias == nullptr ? nullptr : ep.bias + t.batch * job.bias_stride + col;
    p.residual = ep.residual_at<float>(offset);
    s.fip ? fip_run(p) : kernel.run(p);
    if (ep.tile_hook != nullptr)
      ep.tile_hook(ep.hook_user, p.c, t.row0, t.m, t.batch * job.bias_stride + col, p.n, job.ldc);
  }
}

}  // namespace

void run_dense(const DenseJob& job, ThreadPool& pool, void* workspace) {
  const DenseShape& s = job.shape;
  if (s.m <= 0 || s.n <= 0) return;
  const PanelKernel& kernel = panel_kernel(job.tier);
  const WorkerLayout l = layout_of(s, kernel.nr, job.blocking);
  char* const base = static_cast<char*>(workspace);
  for (int w = 0; w < pool.size(); ++w) new (base + static_cast<size_t>(w) * l.total) RowBlock;

  const int64_t panels = ceil_div(s.n, kernel.nr);
  const int64_t groups = ceil_div(panels, job.blocking.panel_block);
  const int64_t per_block = s.batch * groups;
  const int64_t tasks = ceil_div(s.m, job.blocking.row_block) * per_block;
  pool.parallel(tasks, [&](int64_t i, int worker) {
    Task t{};
    t.row0 = i / per_block * job.blocking.row_block;
    t.m = std::min(job.blocking.row_block, s.m - t.row0);
    t.batch = i % per_block / groups;
    t.panel0 = i % groups * panels / groups;
    t.panel1 = (i % groups + 1) * panels / groups;
    run_task(job, kernel, l, t, base + static_cast<size_t>(worker) * l.total);
  });
}

int64_t packed_floats(int64_t n, int64_t k, Tier tier) { return round_up(n, panel_kernel(tier).nr) * k; }

void pack_panel(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, int64_t panel, int nr,
                float* packed) {
  const int64_t col0 = panel * nr, cols = std::min<int64_t>(nr, n - col0);
  if (!transposed) {
    for (int64_t i = 0; i < k; ++i, packed += nr) {
      std::memcpy(packed, b + i * ldb + col0, static_cast<size_t>(cols) * sizeof(float));
      std::fill(packed + cols, packed + nr, 0.f);
    }
    return;
  }
  // Sixteen values of k at a time: whole lines are read from each row and written to the panel.
  for (int64_t i0 = 0; i0 < k; i0 += 16) {
    const int64_t i1 = std::min<int64_t>(k, i0 + 16);
    for (int64_t j = 0; j < nr; ++j) {
      const float* row = j < cols ? b + (col0 + j) * ldb : nullptr;
      for (int64_t i = i0; i < i1; ++i) packed[i * nr + j] = row == nullptr ? 0.f : row[i];
    }
  }
}

}  // namespace hone::cpu
