// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The loop nest around the panel kernel that GEMM and the dense convolutions share: it cuts the
// output into blocks of rows and groups of panels and spreads them over the threads.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/gemm/panel.h"

namespace hone::cpu {

// What a tuner may change; 0 leaves the choice to choose_blocking().
struct DenseTuning {
  int split = 0;      // 1: threads share out rows, 2: columns
  int row_block = 0;  // rows whose input should stay in L2 while all panels pass over them
  int k_block = 0;    // see PanelJob::k_block
  bool operator==(const DenseTuning&) const = default;
};

struct DenseShape {
  int64_t m = 0, n = 0, taps = 1, depth = 0;
  int64_t batch = 1;     // independent products over the same row pointers (channel groups)
  bool scratch = false;  // the filler gets taps * depth floats a row of a block to copy windows to
  bool filled = false;   // panels are made as they are needed: see DenseJob::fill_panel
  bool fip = false;      // by fast inner products (fip_kernel.h): one product, B from fip_pack()
};

struct DenseBlocking {
  int64_t row_block = 0, panel_block = 0, k_block = 0;
  bool operator==(const DenseBlocking&) const = default;
};

DenseBlocking choose_blocking(const DenseShape& shape, Tier tier, int threads, const DenseTuning& tuning);

// Without those that cut the work as one before them does. What a default makes of the CPU's caches must not count: a
// variant of an engine is to be the same on the next CPU.
template <class Tuning, class BlockingOf>
std::vector<Tuning> distinct(std::span<const Tuning> tunings, const BlockingOf& blocking_of) {
  std::vector<Tuning> kept;
  std::vector<decltype(blocking_of(tunings.front()))> seen;
  for (const Tuning& tuning : tunings) {
    auto blocking = blocking_of(tuning);
    if (std::ranges::find(seen, blocking) != seen.end()) continue;
    kept.push_back(tuning);
    seen.push_back(std::move(blocking));
  }
  return kept;
}

struct DenseJob {
  DenseShape shape;
  Tier tier = Tier::scalar;
  DenseBlocking blocking;

  // Writes pointers of rows [row0, row0 + m): rows[tap * rows_ld + i]. `scratch` is per worker.
  void (*fill_rows)(const void* context, int64_t row0, int64_t m, const float** rows, int64_t rows_ld,
                    float* scratch) = nullptr;
  const void* context = nullptr;
  int64_t a_stride = 0;  // added to row pointers from one batch item to the next

  const float* b = nullptr;
  int64_t b_ld = 0, panel_stride = 0, b_stride = 0;  // floats: next k, next panel, next batch item
  const float* b_tail = nullptr;                     // the partial last panel, when packed apart from the others
  int64_t b_tail_stride = 0;
  // Where the shape says filled: writes a panel, [k][nr], to memory of the worker; `b` is not read.
  void (*fill_panel)(const void* context, int64_t panel, float* to) = nullptr;
  const void* panel_context = nullptr;

  float* c = nullptr;
  int64_t ldc = 0, c_stride = 0;
  int64_t bias_stride = 0;  // 0 or n, per batch item
  Epilogue epilogue;
};

size_t dense_workspace_bytes(const DenseShape& shape, Tier tier, const DenseBlocking& blocking, int threads);
void run_dense(const DenseJob& job, ThreadPool& pool, void* workspace);

// B[k][n] (or its transpose, n rows of k) into panels [n / nr][k][nr], zero padded.
int64_t packed_floats(int64_t n, int64_t k, Tier tier);
void pack_panel(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, int64_t panel, int nr,
                float* packed);

// Floats from each row to the next, or 0 where these differ: see PanelJob::rows_apart.
int64_t distance_between(const float* const* rows, int64_t m);

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
constexpr size_t kAlign = 64;  // of workspaces and packed weights

}  // namespace hone::cpu
