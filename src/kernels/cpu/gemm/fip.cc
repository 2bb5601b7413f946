// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/fip.h"

#include <algorithm>
#include <cmath>

namespace hone::cpu {

namespace avx512 {
void prepare_rows(const FipRows& job);
void run_fip(const PanelJob& job);
}  // namespace avx512

void fip_prepare(const FipRows& job) { avx512::prepare_rows(job); }
void fip_run(const PanelJob& job) { avx512::run_fip(job); }

const char* refuse_fip(int64_t m, int64_t k) {
  if (k < 12) return "the sum is too short for pairs to pay";
  if (m < 8) return "too few rows for pairs to pay";
  return nullptr;
}

size_t fip_packed_bytes(int64_t n, int64_t k, Tier tier) {
  const int64_t nr = panel_kernel(tier).nr;
  return static_cast<size_t>(ceil_div(n, nr) * fip_panel_floats(k, nr)) * sizeof(float);
}

namespace {

// Which value of a sum the kernel uses as number `used`.
int64_t place(int64_t used, int64_t k) {
  const int64_t group = used / kFipGroup * kFipGroup, i = used - group;
  const int64_t part = std::min(kFipPart, (k - group) / 3);
  return i < 3 * part ? group + i % 3 * part + i / 3 : used;
}

// Of the power of two by which a column of such squares gets a norm between 0.7 and 1.42, within what f32 holds.
int exponent_for(double squares) { return std::clamp(-((std::ilogb(squares) + 1) >> 1), -126, 126); }

}  // namespace

void fip_pack_panel(const float* panel, int64_t k, int64_t nr, float* packed) {
  const auto columns = static_cast<size_t>(nr);
  std::vector<double> squares(columns), pairs(columns);
  std::vector<float> scales(columns);
  for (int64_t i = 0; i < k; ++i)
    for (size_t j = 0; j < columns; ++j) squares[j] += std::pow(double{panel[i * nr + static_cast<int64_t>(j)]}, 2);
  for (int64_t group = 0; group < k; group += kFipGroup) {
    const int64_t part = std::min(kFipPart, (k - group) / 3);
    for (int64_t i = 0; i < part; ++i) {
      const float *const first = panel + (group + part + i) * nr, *const second = first + part * nr;
      const int sign = part == kFipPart && i % 2 != 0 ? -1 : 1;
      for (size_t j = 0; j < columns; ++j) pairs[j] += sign * double{first[j]} * second[j];
    }
  }
  for (size_t j = 0; j < columns; ++j) {
    const int exponent = squares[j] > 0 && std::isfinite(squares[j]) ? exponent_for(squares[j]) : 0;
    scales[j] = std::ldexp(1.f, exponent);
    // Zeros are multiplied by 0, as sums that do not quite cancel count for nothing.
    packed[j] = squares[j] == 0 ? 0 : std::ldexp(1.f, -exponent);
    packed[columns + j] = static_cast<float>(-std::ldexp(pairs[j], 2 * exponent));
  }
  packed += 2 * nr;
  for (int64_t i = 0; i < k; ++i, packed += nr)
    for (size_t j = 0; j < columns; ++j) packed[j] = panel[place(i, k) * nr + static_cast<int64_t>(j)] * scales[j];
}

void fip_pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, Tier tier, float* packed) {
  const int nr = panel_kernel(tier).nr;
  std::vector<float> panel(static_cast<size_t>(k * nr));
  for (int64_t i = 0; i * nr < n; ++i, packed += fip_panel_floats(k, nr)) {
    pack_panel(b, ldb, transposed, n, k, i, nr, panel.data());
    fip_pack_panel(panel.data(), k, nr, packed);
  }
}

std::vector<DenseTuning> fip_tunings(const DenseShape& shape, Tier tier, int threads) {
  std::vector<DenseTuning> list{{}};
  for (int split = 1; split <= (threads > 1 ? 2 : 1); ++split)
    for (const int rows : {16, 32, 64, 128}) list.push_back({.split = split, .row_block = rows});
  return distinct(std::span<const DenseTuning>(list), [&](const DenseTuning& tuning) {
    DenseBlocking b = choose_blocking(shape, tier, threads, tuning);
    if (tuning.row_block == 0) b.row_block = 0;
    return b;
  });
}

double fip_roundings(int64_t k) {
  // Let the squares of rows and columns add up to x and 1 / x, so that results have the variance 1 / k. Sums start from
  // one of (x^2 + 1 / x^2) / 3k, which turns evenly into the result's; two roundings for three products. Those of the
  // two sums of a pair count for 2/3 (x + 1 / x)^2 in all. The scales leave x at 2 in the worst case.
  constexpr double kX = 2, kStart = (kX * kX + 1 / (kX * kX)) / 3, kSums = 2. / 3 * (kX + 1 / kX) * (kX + 1 / kX);
  // A result of four deviations is rounded with its bias and when it is stored.
  constexpr double kResult = 2 * 16;
  return 2. / 3 * static_cast<double>(k) * (1 + kStart) / 2 + kSums + kResult;
}

double fip_error(int64_t k) { return 6 * std::ldexp(1.0, -24) / std::sqrt(3.0) * std::sqrt(fip_roundings(k)) / 4; }

}  // namespace hone::cpu
