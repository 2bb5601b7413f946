// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/strassen.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace hone::cpu {
namespace {

// Sums of B's quarters, in the order in which run_pair() takes them.
enum Factor { kB11, kB21, kT2, kT1, kB22, kT3, kMinusT4, kFactors };

std::array<double, kFactors> factors_of(double b11, double b12, double b21, double b22) {
  const double t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12, t4 = t2 - b21;
  return {b11, b21, t2, t1, b22, t3, -t4};
}

// Columns come in pairs of panels; one that is left over is multiplied as it is.
struct Columns {
  int64_t pairs, pair_floats;
  bool left_over;
};

Columns columns_of(int64_t n, int64_t k, int64_t nr) {
  const int64_t panels = ceil_div(n, nr);
  return {panels / 2, kFactors * k / 2 * nr, panels % 2 != 0};
}

// Each worker's part of the workspace; offsets. The row block last prepared comes first.
struct WorkerLayout {
  int64_t half_rows, row;  // of a block, rounded up; floats from one row of a sum to the next
  size_t pointers, sums, products, partial, zeros, total;
};

// A line between rows, so that they do not fall into one set of the cache.
constexpr int64_t kLine = 16;

WorkerLayout layout_of(const DenseShape& s, int nr, const DenseBlocking& b) {
  const auto padded = [](int64_t bytes) { return static_cast<size_t>(round_up(bytes, kAlign)); };
  WorkerLayout l{};
  l.half_rows = ceil_div(b.row_block, 2);
  l.row = round_up(s.depth / 2, kLine) + kLine;
  l.pointers = kAlign;
  l.sums = l.pointers + padded(6 * l.half_rows * static_cast<int64_t>(sizeof(float*)));
  l.products = l.sums + padded(4 * l.half_rows * l.row * 4);
  l.partial = l.products + padded(2 * l.half_rows * nr * 4);
  l.zeros = l.partial + padded(2 * l.half_rows * nr * 4);
  l.total = l.zeros + padded(s.depth * 4) + kAlign;
  return l;
}

// One worker's share of a block of rows: the upper half of them is A11 and A12, the lower A21 and A22.
struct Block {
  const DenseJob& job;
  const PanelKernel& kernel;
  const WorkerLayout l;
  char* const mine;
  int64_t row0, m, upper, lower;

  Block(const DenseJob& j, const PanelKernel& k, const WorkerLayout& layout, char* worker, int64_t first, int64_t rows)
      : job(j), kernel(k), l(layout), mine(worker), row0(first), m(rows), upper(ceil_div(rows, 2)), lower(rows / 2) {}

  const float** rows() const { return reinterpret_cast<const float**>(mine + l.pointers); }
  const float** sum_rows(int s) const { return rows() + (2 + s) * l.half_rows; }
  float* product(int i) const { return reinterpret_cast<float*>(mine + l.products) + i * l.half_rows * kernel.nr; }

  void prepare() const {
    auto& prepared = *reinterpret_cast<int64_t*>(mine);
    if (prepared == row0) return;
    prepared = row0;
    job.fill_rows(job.context, row0, m, rows(), l.half_rows * 2, nullptr);
    if (lower < upper) {
      auto* const zeros = reinterpret_cast<float*>(mine + l.zeros);
      std::fill_n(zeros, job.shape.depth, 0.f);
      rows()[m] = zeros;
    }
    auto* const sums = reinterpret_cast<float*>(mine + l.sums);
    for (int64_t i = 0; i < upper; ++i) {
      float* s[4];
      for (int j = 0; j < 4; ++j) sum_rows(j)[i] = s[j] = sums + (j * l.half_rows + i) * l.row;
      kernel.add_quarters({rows()[i], rows()[upper + i], job.shape.depth / 2, s[0], s[1], s[2], s[3]});
    }
  }

  PanelJob panel_job() const {
    PanelJob p;
    p.rows_ld = 2 * l.half_rows;
    p.b_ld = kernel.nr;
    p.k_block = job.blocking.k_block;
    p.partial = reinterpret_cast<float*>(mine + l.partial);
    p.ldc = job.ldc;
    p.epilogue = &job.epilogue;
    p.m = upper;
    p.n = kernel.nr;
    return p;
  }

  // Completes a part of C: `rows` rows from `row` of the block on, at a panel's columns.
  void finish(PanelJob p, int64_t row, int64_t rows, int64_t panel) const {
    const Epilogue& ep = job.epilogue;
    const int64_t col = panel * kernel.nr, offset = (row0 + row) * job.ldc + col;
    p.m = rows;
    p.n = std::min<int64_t>(kernel.nr, job.shape.n - col);
    p.c = job.c + offset;
    p.bias = ep.bias == nullptr ? nullptr : ep.bias + col;
    p.residual = ep.residual == nullptr ? nullptr : ep.residual + offset;
    kernel.run(p);
    if (ep.tile_hook != nullptr) ep.tile_hook(ep.hook_user, p.c, row0 + row, rows, col, p.n, job.ldc);
  }

  void run_pair(int64_t pair, const float* b) const {
    const int64_t half = job.shape.depth / 2, left = 2 * pair, right = left + 1;
    float *const u = product(0), *const v = product(1);
    const auto factor = [&](const float* const* a, int64_t offset, Factor f) {
      PanelJob p = panel_job();
      p.rows = a;
      p.a_offset = offset;
      p.depth = half;
      p.b = b + f * half * kernel.nr;
      return p;
    };
    const auto add = [](PanelJob p, const float* start, const float* other = nullptr) {
      p.start[0] = start;
      p.start[1] = other;
      return p;
    };
    const auto keep = [&](PanelJob p, float* sums) {
      p.sums = sums;
      kernel.run(p);
    };
    const float *const *const a1 = rows(), *const *const a2 = rows() + upper;
    keep(factor(a1, 0, kB11), u);
    finish(add(factor(a1, half, kB21), u), 0, upper, left);
    keep(add(factor(sum_rows(1), 0, kT2), u), u);
    keep(factor(sum_rows(0), 0, kT1), v);
    finish(add(factor(sum_rows(3), 0, kB22), u, v), 0, upper, right);
    keep(add(factor(sum_rows(2), 0, kT3), u), u);
    if (lower == 0) return;
    finish(add(factor(a2, half, kMinusT4), u), upper, lower, left);
    PanelJob sum = factor(a2, 0, kB11);
    sum.depth = 0;
    finish(add(sum, u, v), upper, lower, right);
  }

  void run_left_over(int64_t panel, const float* b) const {
    PanelJob p = panel_job();
    p.rows = rows();
    p.depth = job.shape.depth;
    p.b = b;
    finish(p, 0, m, panel);
  }
};

}  // namespace

const char* refuse_strassen(const DenseShape& s) {
  if (s.depth % 2 != 0) return "the sum has an odd length";
  if (s.depth < 128 || s.n < 128 || s.m < 32) return "too small for seven products of quarters to pay";
  return nullptr;
}

size_t strassen_packed_bytes(int64_t n, int64_t k, Tier tier) {
  const int64_t nr = panel_kernel(tier).nr;
  const Columns c = columns_of(n, k, nr);
  return static_cast<size_t>(c.pairs * c.pair_floats + c.left_over * k * nr) * sizeof(float);
}

// [pair][factor][k / 2][nr], then the panel left over, [k][nr].
void strassen_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, float* packed) {
  const int nr = panel_kernel(tier).nr;
  const Columns c = columns_of(n, k, nr);
  const int64_t half = k / 2;
  const auto value = [&](int64_t i, int64_t j) {
    return j >= n ? 0.0 : double{transposed ? b[j * ldb + i] : b[i * ldb + j]};
  };
  for (int64_t pair = 0; pair < c.pairs; ++pair, packed += c.pair_floats)
    for (int64_t i = 0; i < half; ++i)
      for (int64_t j = 0; j < nr; ++j) {
        const int64_t left = 2 * pair * nr + j, right = left + nr;
        const auto f = factors_of(value(i, left), value(i, right), value(half + i, left), value(half + i, right));
        for (int64_t e = 0; e < kFactors; ++e) packed[(e * half + i) * nr + j] = static_cast<float>(f[e]);
      }
  if (c.left_over) pack_panel(b, ldb, transposed, n, k, 2 * c.pairs, nr, packed);
}

std::vector<DenseTuning> strassen_tunings(Tier tier, int threads) {
  const int mr = panel_kernel(tier).mr;
  std::vector<DenseTuning> list{{}};
  for (int split = 1; split <= (threads > 1 ? 2 : 1); ++split)
    for (const int k_block : {0, 1 << 30})
      for (const int rows : {8, 16, 32}) list.push_back({.split = split, .row_block = rows * mr, .k_block = k_block});
  return list;
}

// The sums of quarters take as much of L2 as the rows.
DenseBlocking strassen_blocking(const DenseShape& shape, Tier tier, int threads, const DenseTuning& tuning) {
  DenseShape s = shape;
  s.depth *= 2;
  DenseBlocking b = choose_blocking(s, tier, threads, tuning);
  b.panel_block = round_up(b.panel_block, 2);
  return b;
}

size_t strassen_workspace_bytes(const DenseShape& s, Tier tier, const DenseBlocking& b, int threads) {
  return layout_of(s, panel_kernel(tier).nr, b).total * static_cast<size_t>(threads);
}

void run_strassen(const DenseJob& job, ThreadPool& pool, void* workspace) {
  const DenseShape& s = job.shape;
  const PanelKernel& kernel = panel_kernel(job.tier);
  const WorkerLayout l = layout_of(s, kernel.nr, job.blocking);
  char* const base = static_cast<char*>(workspace);
  for (int w = 0; w < pool.size(); ++w) *reinterpret_cast<int64_t*>(base + static_cast<size_t>(w) * l.total) = -1;

  const Columns c = columns_of(s.n, s.depth, kernel.nr);
  const int64_t units = c.pairs + c.left_over;  // of columns
  const int64_t groups = ceil_div(units, job.blocking.panel_block / 2);
  const int64_t tasks = ceil_div(s.m, job.blocking.row_block) * groups;
  pool.parallel(tasks, [&](int64_t i, int worker) {
    const int64_t row0 = i / groups * job.blocking.row_block;
    const Block block(job, kernel, l, base + static_cast<size_t>(worker) * l.total, row0,
                      std::min(job.blocking.row_block, s.m - row0));
    block.prepare();
    const int64_t group = i % groups, end = (group + 1) * units / groups;
    for (int64_t unit = group * units / groups; unit < end; ++unit) {
      const float* b = job.b + unit * c.pair_floats;
      unit < c.pairs ? block.run_pair(unit, b) : block.run_left_over(2 * unit, b);
    }
  });
}

double strassen_error(int64_t k) {
  // Mean squares of the products that make C's lower quarters, where half a column of B and A's values have 1, summed;
  // columns and rows alike or opposite, whichever is worse: A11 B11, S2 T2, S3 T3, and A22 T4 or S1 T1.
  constexpr double kSquares = 1 * 1 + 3 * 9 + 2 * 4 + 1 * 16;
  // Of a sum of A's and of a factor: three additions and a store each at the most.
  constexpr double kSumRoundings = 7;
  // Partial sums grow evenly, and each one is rounded.
  const double roundings = kSumRoundings + (2 * static_cast<double>(k) + 1) / 2;
  const double unit = std::ldexp(1.0, -24) / std::sqrt(3.0);
  return 6 * unit * std::sqrt(roundings * kSquares) / 4;
}

}  // namespace hone::cpu
