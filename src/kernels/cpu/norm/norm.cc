// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/norm/norm.h"

#include <cmath>
#include <cstring>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/norm/rows.h"

namespace hone::cpu {

namespace scalar {
extern const NormKernels<float> kNormKernels;
}
namespace avx2 {
extern const NormKernels<float> kNormKernels;
}
namespace avx512 {
extern const NormKernels<float> kNormKernels;
}
namespace avx512_bf16 {
extern const NormKernels<bf16> kNormKernels;
}

namespace {

constexpr int64_t kGrain = 8 << 10;  // values that justify a task

const NormKernels<float>& kernels_of(Tier tier, float) {
  switch (tier) {
    case Tier::avx512: return avx512::kNormKernels;
    case Tier::avx2: return avx2::kNormKernels;
    case Tier::scalar: break;
  }
  return scalar::kNormKernels;
}
const NormKernels<bf16>& kernels_of(Tier, bf16) { return avx512_bf16::kNormKernels; }

double number(float v) { return static_cast<double>(v); }
double number(bf16 v) { return static_cast<double>(to_float(v)); }

// Workspace of a group norm: per batch item factor and offset of each channel, then per item and band both sums.
int64_t padded(int64_t channels) { return (channels + 15) / 16 * 16; }

template <class T>
struct GroupNormRun {
  const GroupNormProblem& p;
  const NormKernels<T>& k;
  const T* x;
  const float *scale, *bias;
  T* y;
  int64_t in_ldc, out_ldc, bands;
  float *factor, *offset;
  double* sums;

  NormBand<T> band(int64_t n, int64_t b) const {
    const Part part = part_of(p.pixels, b, bands);
    const int64_t first = n * p.pixels + part.begin;
    return {x + first * in_ldc, y + first * out_ldc, part.end - part.begin, p.channels, in_ldc, out_ldc};
  }
  double* sums_of(int64_t n, int64_t b) const { return sums + (n * bands + b) * 2 * padded(p.channels); }

  void measure(int64_t n, int64_t b) const {
    double* s = sums_of(n, b);
    std::memset(s, 0, sizeof(double) * 2 * static_cast<size_t>(padded(p.channels)));
    k.sums(band(n, b), x + n * p.pixels * in_ldc, s, s + padded(p.channels));
  }
  // Sums are of x minus the channel's first value, which keeps their digits; means of groups undo that.
  void combine(int64_t n) const {
    const int64_t size = p.channels / p.groups, pitch = padded(p.channels);
    const T* shift = x + n * p.pixels * in_ldc;
    const auto pixels = static_cast<double>(p.pixels);
    for (int64_t g = 0; g < p.groups; ++g) {
      double mean = 0, square = 0;
      const auto average = [&](int64_t c, int64_t which) {
        double s = 0;
        for (int64_t b = 0; b < bands; ++b) s += sums_of(n, b)[which * pitch + c];
        return s / pixels;
      };
      for (int64_t c = g * size; c < (g + 1) * size; ++c)
        mean += (average(c, 0) + number(shift[c])) / static_cast<double>(size);
      for (int64_t c = g * size; c < (g + 1) * size; ++c) {
        const double off = number(shift[c]) - mean;
        square += (average(c, 1) + 2 * average(c, 0) * off + off * off) / static_cast<double>(size);
      }
      const double inverse = 1 / std::sqrt(std::max(square, 0.0) + static_cast<double>(p.epsilon));
      for (int64_t c = g * size; c < (g + 1) * size; ++c) {
        const double f = inverse * (scale != nullptr ? static_cast<double>(scale[c]) : 1);
        factor[n * pitch + c] = static_cast<float>(f);
        offset[n * pitch + c] = static_cast<float>((bias != nullptr ? static_cast<double>(bias[c]) : 0) - mean * f);
      }
    }
  }
};

int64_t band_count(const GroupNormProblem& p, int threads) {
  return std::min(std::max<int64_t>(p.pixels, 1), task_count(p.pixels * p.channels, kGrain, threads));
}

}  // namespace

const char* layer_norm_supports(const LayerNormProblem& p) {
  return p.rows < 0 || p.length < 1 ? "an empty row" : nullptr;
}

namespace {

template <class T>
void normalise_rows(const LayerNormProblem& p, Tier tier, const T* x, const float* scale, const float* bias, T* y,
                    ThreadPool& pool, const LayerNormStatistics& to) {
  const NormKernels<T>& k = kernels_of(tier, T());
  const int64_t tasks = std::min(p.rows, task_count(p.rows * p.length, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(p.rows, t, tasks);
    for (int64_t r = part.begin; r < part.end; ++r) {
      NormRow<T> row{x + r * p.length, scale, bias, y + r * p.length, p.length, p.epsilon, p.rms, 0, 0};
      k.row(row);
      if (to.mean != nullptr) to.mean[r] = row.mean;
      if (to.inverse_deviation != nullptr) to.inverse_deviation[r] = row.inverse_deviation;
    }
  });
}

}  // namespace

void layer_norm(const LayerNormProblem& p, Tier tier, const float* x, const float* scale, const float* bias, float* y,
                ThreadPool& pool, const LayerNormStatistics& statistics) {
  normalise_rows(p, tier, x, scale, bias, y, pool, statistics);
}

void layer_norm(const LayerNormProblem& p, Tier tier, const bf16* x, const float* scale, const float* bias, bf16* y,
                ThreadPool& pool) {
  normalise_rows(p, tier, x, scale, bias, y, pool, {});
}

const char* group_norm_supports(const GroupNormProblem& p) {
  if (p.batch < 0 || p.pixels < 1 || p.channels < 1) return "an empty image";
  if (p.groups < 1 || p.channels % p.groups != 0) return "channels that the groups do not divide";
  return (p.in_ldc != 0 && p.in_ldc < p.channels) || (p.out_ldc != 0 && p.out_ldc < p.channels)
             ? "a pixel pitch below the channel count"
             : nullptr;
}

size_t group_norm_workspace_bytes(const GroupNormProblem& p, int threads) {
  const auto floats = static_cast<size_t>(p.batch * padded(p.channels));
  return floats * 2 * sizeof(float) + floats * 2 * sizeof(double) * static_cast<size_t>(band_count(p, threads));
}

namespace {

template <class T>
void normalise_groups(const GroupNormProblem& p, Tier tier, const T* x, const float* scale, const float* bias, T* y,
                      void* workspace, ThreadPool& pool) {
  const int64_t item = p.batch * padded(p.channels), bands = band_count(p, pool.size());
  float* factor = static_cast<float*>(workspace);
  const GroupNormRun<T> run{p,
                            kernels_of(tier, T()),
                            x,
                            scale,
                            bias,
                            y,
                            p.in_ldc > 0 ? p.in_ldc : p.channels,
                            p.out_ldc > 0 ? p.out_ldc : p.channels,
                            bands,
                            factor,
                            factor + item,
                            reinterpret_cast<double*>(factor + 2 * item)};
  const int64_t pitch = padded(p.channels);
  const auto both = [&](auto f) { pool.parallel(p.batch * bands, [&](int64_t t, int) { f(t / bands, t % bands); }); };
  both([&](int64_t n, int64_t b) { run.measure(n, b); });
  for (int64_t n = 0; n < p.batch; ++n) run.combine(n);
  both([&](int64_t n, int64_t b) { run.k.apply(run.band(n, b), factor + n * pitch, run.offset + n * pitch); });
}

}  // namespace

void group_norm(const GroupNormProblem& p, Tier tier, const float* x, const float* scale, const float* bias, float* y,
                void* workspace, ThreadPool& pool) {
  normalise_groups(p, tier, x, scale, bias, y, workspace, pool);
}

void group_norm(const GroupNormProblem& p, Tier tier, const bf16* x, const float* scale, const float* bias, bf16* y,
                void* workspace, ThreadPool& pool) {
  normalise_groups(p, tier, x, scale, bias, y, workspace, pool);
}

}  // namespace hone::cpu
