// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/strassen.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <new>

#include "kernels/cpu/gemm/fip.h"

namespace hone::cpu {
namespace {

// Sums of B's quarters, in the order in which run_pair() takes them.
enum Factor { kB11, kB21, kT2, kT1, kB22, kT3, kMinusT4, kFactors };

// Quarters of A that products take, and sums of quarters.
enum Quarter { kA11, kA12, kA22, kS1, kS2, kS3, kS4, kQuarters };

std::array<double, kFactors> factors_of(double b11, double b12, double b21, double b22) {
  const double t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12, t4 = t2 - b21;
  return {b11, b21, t2, t1, b22, t3, -t4};
}

// Columns come in pairs of panels; one that is left over is multiplied as it is.
struct Columns {
  int64_t pairs, pair_floats;
  bool left_over;
};

int64_t factor_floats(int64_t k, int64_t nr, bool fip) { return fip ? fip_panel_floats(k / 2, nr) : k / 2 * nr; }

Columns columns_of(int64_t n, int64_t k, int64_t nr, bool fip) {
  const int64_t panels = ceil_div(n, nr);
  return {panels / 2, kFactors * factor_floats(k, nr, fip), panels % 2 != 0};
}

// A block of rows is one of `parts` of an item, or `segments` whole items.
struct Blocking {
  int64_t rows, segments, parts;  // rows of a segment
  int64_t groups;                 // of columns: one for each thread that shares them out
  int64_t k_block;

  bool operator==(const Blocking&) const = default;
  int64_t half() const { return ceil_div(rows, 2); }  // rows of a segment's upper half
};

Blocking blocking_of(const StrassenShape& s, Tier tier, int threads, const DenseTuning& tuning) {
  // The sums of quarters take as much of L2 as the rows.
  const DenseBlocking dense =
      choose_blocking({.m = s.items * s.rows, .n = s.n, .depth = 2 * s.k}, tier, threads, tuning);
  const int64_t panels = ceil_div(s.n, panel_kernel(tier).nr);
  Blocking b{.rows = s.rows, .segments = 1, .parts = 1, .k_block = dense.k_block};
  b.groups = ceil_div(panels, dense.panel_block);
  const int64_t sharing = b.groups > 1 ? 1 : threads;  // out blocks of rows, of which each should get as many
  if (dense.row_block >= 2 * s.rows) {
    const int64_t blocks = round_up(ceil_div(s.items, dense.row_block / s.rows), sharing);
    b.segments = ceil_div(s.items, blocks);
  } else {
    b.parts = ceil_div(s.rows, dense.row_block);
    const int64_t most = b.parts + sharing;
    while (s.items * b.parts % sharing != 0 && b.parts < most) ++b.parts;
    b.rows = ceil_div(s.rows, b.parts);
  }
  return b;
}

// Each worker's part of the workspace; offsets. The block of rows last prepared comes first.
struct WorkerLayout {
  int64_t row;  // floats from one row of a sum, or of a prepared quarter, to the next
  size_t pointers, sums, products, partial, zeros, total;
};

// A line between rows, so that they do not fall into one set of the cache.
constexpr int64_t kLine = 16;
static_assert(kFipHead == kLine);

WorkerLayout layout_of(const StrassenShape& s, int nr, const Blocking& b) {
  const auto padded = [](int64_t bytes) { return static_cast<size_t>(round_up(bytes, kAlign)); };
  const int64_t half = b.segments * b.half(), block = b.segments * b.rows;
  WorkerLayout l{};
  l.row = round_up(s.k / 2, kLine) + kLine;
  l.pointers = kAlign;
  l.sums = l.pointers + padded((block + kQuarters * half) * static_cast<int64_t>(sizeof(float*)));
  l.products = l.sums + padded((s.fip ? kQuarters : kQuarters - kS1) * half * l.row * 4);
  l.partial = l.products + padded(2 * half * nr * 4);
  l.zeros = l.partial + padded(block * nr * 4);
  l.total = l.zeros + padded(s.k * 4) + kAlign;
  return l;
}

// What a worker has prepared.
struct Prepared {
  int64_t row0 = -1;
  int64_t apart[2] = {};  // of the upper and the lower rows: see PanelJob::rows_apart
};
static_assert(sizeof(Prepared) <= kAlign);

// One worker's share of a block: the upper halves of its segments are A11 and A12, the lower ones A21 and A22.
struct Block {
  const StrassenShape& shape;
  const Blocking& blocking;
  const DenseJob& job;
  const PanelKernel& kernel;
  const WorkerLayout& l;
  char* const mine;
  const int64_t row0, rows, segments;  // the first; of a segment

  int64_t upper() const { return ceil_div(rows, 2); }
  int64_t lower() const { return rows / 2; }
  int64_t half() const { return segments * upper(); }
  Prepared& prepared() const { return *reinterpret_cast<Prepared*>(mine); }
  // The block's rows as they are; those of a quarter or of a sum.
  const float** all_rows() const { return reinterpret_cast<const float**>(mine + l.pointers); }
  const float** rows_of(int quarter) const {
    return all_rows() + blocking.segments * blocking.rows + quarter * blocking.segments * blocking.half();
  }
  // Of sums, and with fast inner products of all quarters: memory for row i, with room ahead of its values.
  float* made_row(int quarter, int64_t i) const {
    const int64_t first = shape.fip ? 0 : kS1;
    return reinterpret_cast<float*>(mine + l.sums) + ((quarter - first) * half() + i) * l.row;
  }
  float* product(int i) const {
    return reinterpret_cast<float*>(mine + l.products) + i * blocking.segments * blocking.half() * kernel.nr;
  }

  void prepare() const {
    if (prepared().row0 == row0) return;
    job.fill_rows(job.context, row0, segments * rows, all_rows(), blocking.segments * blocking.rows, nullptr);
    auto* const zeros = reinterpret_cast<float*>(mine + l.zeros);
    std::fill_n(zeros, shape.k, 0.f);  // the lower row that an upper one may lack
    const int64_t quarter = shape.k / 2;
    for (int64_t i = 0; i < half(); ++i) {
      const int64_t at = i % upper();
      const float** row = all_rows() + i / upper() * rows + at;
      const float *const top = row[0], *const bottom = at < lower() ? row[upper()] : zeros;
      rows_of(kA11)[i] = top;
      rows_of(kA12)[i] = top + quarter;
      rows_of(kA22)[i] = bottom + quarter;
      float* s[4];
      for (int j = 0; j < 4; ++j) rows_of(kS1 + j)[i] = s[j] = made_row(kS1 + j, i) + (shape.fip ? kFipHead : 0);
      kernel.add_quarters({top, bottom, quarter, s[0], s[1], s[2], s[3]});
    }
    prepared() = {row0, {distance_between(rows_of(kA11), half()), distance_between(rows_of(kA22), half())}};
    if (!shape.fip) return;
    for (int q = 0; q < kQuarters; ++q) {
      fip_prepare({rows_of(q), half(), quarter, made_row(q, 0), l.row});
      for (int64_t i = 0; i < half(); ++i) rows_of(q)[i] = made_row(q, i);
    }
  }

  int64_t apart(Quarter q) const { return shape.fip || q >= kS1 ? l.row : prepared().apart[q == kA22]; }

  // Of quarters; whole rows, and sums of products alone, are the panel kernel's.
  void multiply(const PanelJob& p) const {
    const bool prepared = shape.fip && p.rows != all_rows() && p.depth > 0;
    prepared ? fip_run(p) : kernel.run(p);
  }

  PanelJob panel_job() const {
    PanelJob p;
    p.m = half();
    p.n = kernel.nr;
    p.b_ld = kernel.nr;
    p.k_block = blocking.k_block;
    p.partial = reinterpret_cast<float*>(mine + l.partial);
    p.ldc = job.ldc;
    p.epilogue = &job.epilogue;
    return p;
  }

  // Completes `count` rows of C from row `first` on, at a panel's columns.
  void finish(PanelJob p, int64_t first, int64_t count, int64_t panel) const {
    const Epilogue& ep = job.epilogue;
    const int64_t col = panel * kernel.nr, offset = first * job.ldc + col;
    p.m = count;
    p.n = std::min<int64_t>(kernel.nr, shape.n - col);
    p.c = job.c + offset;
    p.bias = ep.bias == nullptr ? nullptr : ep.bias + col;
    p.residual = ep.residual_at<float>(offset);
    multiply(p);
    if (ep.tile_hook != nullptr) ep.tile_hook(ep.hook_user, p.c, first, count, col, p.n, job.ldc);
  }

  // Completes C's quarter of upper or lower rows and of a panel's columns, segment by segment.
  void finish_halves(PanelJob p, bool lower_half, int64_t panel) const {
    const int64_t count = lower_half ? lower() : upper();
    for (int64_t s = 0; s < segments && count > 0; ++s) {
      finish(p, row0 + s * rows + (lower_half ? upper() : 0), count, panel);
      p.rows += upper();
      for (const float*& start : p.start)
        if (start != nullptr) start += upper() * kernel.nr;
    }
  }

  void run_pair(int64_t pair, const float* b) const {
    const int64_t left = 2 * pair, right = left + 1, floats = factor_floats(shape.k, kernel.nr, shape.fip);
    float *const u = product(0), *const v = product(1);
    // A factor of A times one of B, added to what `start` and `other` hold.
    const auto factor = [&](Quarter a, Factor f, const float* start = nullptr, const float* other = nullptr) {
      PanelJob p = panel_job();
      p.rows = rows_of(a);
      p.rows_apart = apart(a);
      p.depth = shape.k / 2;
      p.b = b + f * floats;
      p.start[0] = start;
      p.start[1] = other;
      return p;
    };
    const auto keep = [&](PanelJob p, float* sums) {
      p.sums = sums;
      multiply(p);
    };
    keep(factor(kA11, kB11), u);
    finish_halves(factor(kA12, kB21, u), false, left);
    keep(factor(kS2, kT2, u), u);
    keep(factor(kS1, kT1), v);
    finish_halves(factor(kS4, kB22, u, v), false, right);
    keep(factor(kS3, kT3, u), u);
    finish_halves(factor(kA22, kMinusT4, u), true, left);
    PanelJob sum = factor(kA22, kB11, u, v);
    sum.depth = 0;
    finish_halves(sum, true, right);
  }

  void run_left_over(int64_t panel, const float* b) const {
    PanelJob p = panel_job();
    p.rows = all_rows();
    p.depth = shape.k;
    p.b = b;
    finish(p, row0, segments * rows, panel);
  }
};

}  // namespace

const char* refuse_strassen(const StrassenShape& s) {
  if (s.k % 2 != 0) return "the sum has an odd length";
  if (s.k < 128 || s.n < 128) return "too small for seven products of quarters to pay";
  if (s.rows < 32) return "too few rows of one batch item to halve";
  return nullptr;
}

size_t strassen_packed_bytes(int64_t n, int64_t k, Tier tier, bool fip) {
  const int64_t nr = panel_kernel(tier).nr;
  const Columns c = columns_of(n, k, nr, fip);
  return static_cast<size_t>(c.pairs * c.pair_floats + c.left_over * k * nr) * sizeof(float);
}

// [pair][factor][k / 2][nr], or panels of fip_pack(), then the panel left over, [k][nr].
void strassen_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, bool fip,
                   float* packed) {
  const int nr = panel_kernel(tier).nr;
  const Columns c = columns_of(n, k, nr, fip);
  const int64_t half = k / 2, floats = factor_floats(k, nr, fip);
  const auto value = [&](int64_t i, int64_t j) {
    return j >= n ? 0.0 : double{transposed ? b[j * ldb + i] : b[i * ldb + j]};
  };
  std::vector<float> factors(static_cast<size_t>(kFactors * half * nr));
  for (int64_t pair = 0; pair < c.pairs; ++pair) {
    for (int64_t i = 0; i < half; ++i)
      for (int64_t j = 0; j < nr; ++j) {
        const int64_t left = 2 * pair * nr + j, right = left + nr;
        const auto f = factors_of(value(i, left), value(i, right), value(half + i, left), value(half + i, right));
        for (int64_t e = 0; e < kFactors; ++e)
          factors[static_cast<size_t>((e * half + i) * nr + j)] = static_cast<float>(f[static_cast<size_t>(e)]);
      }
    for (int64_t e = 0; e < kFactors; ++e, packed += floats) {
      const float* const factor = factors.data() + e * half * nr;
      if (fip) fip_pack_panel(factor, half, nr, packed);
      else std::copy_n(factor, half * nr, packed);
    }
  }
  if (c.left_over) pack_panel(b, ldb, transposed, n, k, 2 * c.pairs, nr, packed);
}

std::vector<DenseTuning> strassen_tunings(const StrassenShape& s, Tier tier, int threads) {
  const int mr = panel_kernel(tier).mr;
  std::vector<DenseTuning> list{{}};
  for (int split = 1; split <= (threads > 1 ? 2 : 1); ++split)
    for (const int k_block : {0, 1 << 30})
      for (const int rows : {8, 16, 32}) list.push_back({.split = split, .row_block = rows * mr, .k_block = k_block});
  return distinct(std::span<const DenseTuning>(list), [&](const DenseTuning& tuning) {
    Blocking b = blocking_of(s, tier, threads, tuning);
    b.k_block = tuning.k_block;
    if (tuning.row_block == 0) b.rows = 0;
    return b;
  });
}

size_t strassen_workspace_bytes(const StrassenShape& s, Tier tier, int threads, const DenseTuning& tuning) {
  const Blocking b = blocking_of(s, tier, threads, tuning);
  return layout_of(s, panel_kernel(tier).nr, b).total * static_cast<size_t>(threads);
}

void run_strassen(const StrassenShape& s, const DenseTuning& tuning, const DenseJob& job, ThreadPool& pool,
                  void* workspace) {
  const PanelKernel& kernel = panel_kernel(job.tier);
  const Blocking blocking = blocking_of(s, job.tier, pool.size(), tuning);
  const WorkerLayout l = layout_of(s, kernel.nr, blocking);
  char* const base = static_cast<char*>(workspace);
  for (int w = 0; w < pool.size(); ++w) new (base + static_cast<size_t>(w) * l.total) Prepared;

  const Columns c = columns_of(s.n, s.k, kernel.nr, s.fip);
  const int64_t units = c.pairs + c.left_over;  // of columns
  const int64_t groups = std::min(blocking.groups, units);
  const int64_t blocks = ceil_div(s.items, blocking.segments) * blocking.parts;
  pool.parallel(blocks * groups, [&](int64_t i, int worker) {
    const int64_t item = i / groups / blocking.parts * blocking.segments, part = i / groups % blocking.parts;
    const int64_t first = part * blocking.rows, rows = std::min(blocking.rows, s.rows - first);
    if (rows <= 0) return;
    const Block block{s,
                      blocking,
                      job,
                      kernel,
                      l,
                      base + static_cast<size_t>(worker) * l.total,
                      item * s.rows + first,
                      rows,
                      std::min(blocking.segments, s.items - item)};
    block.prepare();
    const int64_t group = i % groups, end = (group + 1) * units / groups;
    for (int64_t unit = group * units / groups; unit < end; ++unit) {
      const float* b = job.b + unit * c.pair_floats;
      unit < c.pairs ? block.run_pair(unit, b) : block.run_left_over(2 * unit, b);
    }
  });
}

double strassen_error(int64_t k, bool fip) {
  // Mean squares of the products that make C's lower quarters, where half a column of B and A's values have 1, summed;
  // columns and rows alike or opposite, whichever is worse: A11 B11, S2 T2, S3 T3, and A22 T4 or S1 T1.
  constexpr double kSquares = 1 * 1 + 3 * 9 + 2 * 4 + 1 * 16;
  // Of a sum of A's and of a factor: three additions and a store each at the most.
  constexpr double kSumRoundings = 7;
  // Partial sums grow evenly, and each one is rounded.
  const double sums = static_cast<double>(k), roundings = kSumRoundings + (fip ? 2 * fip_roundings(k) : sums + 0.5);
  const double unit = std::ldexp(1.0, -24) / std::sqrt(3.0);
  return 6 * unit * std::sqrt(roundings * kSquares) / 4;
}

}  // namespace hone::cpu
