// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reduce/reduce.h"

#include <cmath>
#include <limits>

#include "base/tensor.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/reduce/steps.h"

namespace hone::cpu {

namespace scalar {
extern const ReduceKernels<float> kReduceKernels;
}
namespace avx2 {
extern const ReduceKernels<float> kReduceKernels;
}
namespace avx512 {
extern const ReduceKernels<float> kReduceKernels;
}
namespace avx512_bf16 {
extern const ReduceKernels<bf16> kReduceKernels;
}

namespace {

constexpr int64_t kGrain = 16 << 10;  // values that justify a task
constexpr int64_t kShortRow = 16;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

const ReduceKernels<float>& kernels_of(Tier tier, float) {
  switch (tier) {
    case Tier::avx512: return avx512::kReduceKernels;
    case Tier::avx2: return avx2::kReduceKernels;
    case Tier::scalar: break;
  }
  return scalar::kReduceKernels;
}
const ReduceKernels<bf16>& kernels_of(Tier, bf16) { return avx512_bf16::kReduceKernels; }

void put(float v, float& to) { to = v; }
void put(float v, bf16& to) { to = to_bf16(static_cast<double>(v)); }

Fold fold_of(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::max: return Fold::max;
    case ReduceKind::min: return Fold::min;
    case ReduceKind::prod: return Fold::product;
    case ReduceKind::sum_square:
    case ReduceKind::l2: return Fold::sum_square;
    case ReduceKind::l1: return Fold::sum_abs;
    case ReduceKind::log_sum_exp: return Fold::sum_exp;
    default: return Fold::sum;
  }
}

double neutral(Fold fold) {
  return fold == Fold::max ? -kInfinity : fold == Fold::min ? kInfinity : fold == Fold::product ? 1 : 0;
}

float finish(ReduceKind kind, double acc, int64_t count, double shift) {
  switch (kind) {
    case ReduceKind::mean: return static_cast<float>(acc / static_cast<double>(count));
    case ReduceKind::l2: return static_cast<float>(std::sqrt(acc));
    case ReduceKind::log_sum: return static_cast<float>(std::log(acc));
    case ReduceKind::log_sum_exp: return static_cast<float>(shift + std::log(acc));
    default: return static_cast<float>(acc);
  }
}

// What is subtracted before an exponential; an infinite maximum would turn its own term into NaN.
float safe_shift(double max) { return std::isinf(max) ? 0.f : static_cast<float>(max); }

int64_t offset_of(int64_t index, const std::vector<int64_t>& dims, const std::vector<int64_t>& strides) {
  int64_t offset = 0;
  for (size_t d = dims.size(); d-- > 0; index /= dims[d]) offset += index % dims[d] * strides[d];
  return offset;
}

}  // namespace

Result<ReducePlan> ReducePlan::make(ReduceKind kind, std::span<const int64_t> dims, std::span<const int64_t> axes,
                                    Tier tier) {
  HONE_CHECK(checked_bytes(DType::f32, dims));
  std::vector<bool> is_reduced(dims.size(), false);
  for (int64_t a : axes) {
    const int64_t axis = a < 0 ? a + static_cast<int64_t>(dims.size()) : a;
    if (axis < 0 || axis >= static_cast<int64_t>(dims.size()))
      return invalid("reduction of {} dims over axis {}", dims.size(), a);
    is_reduced[static_cast<size_t>(axis)] = true;
  }
  ReducePlan plan;
  plan.kind_ = kind;
  plan.tier_ = tier;
  const Dims strides = strides_of(dims);
  std::vector<int64_t> extent[2], step[2];
  bool last_reduced = true;
  for (size_t d = 0; d < dims.size(); ++d) {
    (is_reduced[d] ? plan.count_ : plan.outputs_) *= dims[d];
    if (dims[d] == 1) continue;
    extent[is_reduced[d]].push_back(dims[d]);
    step[is_reduced[d]].push_back(strides[d]);
    last_reduced = is_reduced[d];
  }
  for (int r = 0; r < 2; ++r) collapse_dims(extent[r], {&step[r], 1});
  plan.by_columns_ = !last_reduced;
  auto& inner = extent[last_reduced];
  plan.run_ = inner.back();
  inner.pop_back();
  step[last_reduced].pop_back();
  if (plan.by_columns_) {
    // The innermost reduced dim is the rows of the column kernel.
    plan.stride_ = step[1].back();
  }
  plan.kept_ = extent[0];
  plan.kept_strides_ = step[0];
  plan.reduced_ = extent[1];
  plan.reduced_strides_ = step[1];
  plan.short_rows_ = last_reduced && plan.run_ < kShortRow && element_count(plan.reduced_) == 1 && plan.outputs_ > 1 &&
                     kind != ReduceKind::log_sum_exp;
  return plan;
}

int64_t ReducePlan::kept_offset(int64_t index) const { return offset_of(index, kept_, kept_strides_); }
int64_t ReducePlan::reduced_offset(int64_t index) const { return offset_of(index, reduced_, reduced_strides_); }

template <class T>
void ReducePlan::rows(const T* x, T* y, int64_t index) const {
  const ReduceKernels<T>& k = kernels_of(tier_, T());
  const int64_t outer = element_count(reduced_);
  const T* base = x + kept_offset(index);
  const auto fold = [&](Fold f, float shift) {
    double acc = neutral(f);
    for (int64_t r = 0; r < outer; ++r) acc = k.row(f, base + reduced_offset(r), run_, shift, acc);
    return acc;
  };
  const float shift = kind_ == ReduceKind::log_sum_exp ? safe_shift(fold(Fold::max, 0)) : 0.f;
  put(finish(kind_, fold(fold_of(kind_), shift), count_, static_cast<double>(shift)), y[index]);
}

template <class T>
void ReducePlan::short_rows(const T* x, T* y, int64_t unit) const {
  const int64_t first = unit * kColumnBand, count = std::min(kColumnBand, outputs_ - first);
  const Fold fold = fold_of(kind_);
  double acc[kColumnBand];
  std::fill(acc, acc + count, neutral(fold));
  kernels_of(tier_, T()).short_rows(fold, x + first * run_, count, run_, acc);
  for (int64_t r = 0; r < count; ++r) put(finish(kind_, acc[r], count_, 0), y[first + r]);
}

template <class T>
void ReducePlan::columns(const T* x, T* y, int64_t unit) const {
  const ReduceKernels<T>& k = kernels_of(tier_, T());
  const int64_t bands = (run_ + kColumnBand - 1) / kColumnBand;
  const int64_t column = unit % bands * kColumnBand, width = std::min(kColumnBand, run_ - column);
  const int64_t rows = reduced_.back(), outer = element_count(reduced_) / std::max<int64_t>(rows, 1);
  const T* base = x + kept_offset(unit / bands) + column;
  const auto fold = [&](Fold f, const float* shift, double* acc) {
    std::fill(acc, acc + width, neutral(f));
    for (int64_t r = 0; r < outer && rows > 0; ++r)
      k.columns(f, base + reduced_offset(r * rows), rows, stride_, width, shift, acc);
  };
  double acc[kColumnBand];
  float shift[kColumnBand] = {};
  if (kind_ == ReduceKind::log_sum_exp) {
    fold(Fold::max, nullptr, acc);
    for (int64_t c = 0; c < width; ++c) shift[c] = safe_shift(acc[c]);
  }
  fold(fold_of(kind_), shift, acc);
  T* out = y + unit / bands * run_ + column;
  for (int64_t c = 0; c < width; ++c) put(finish(kind_, acc[c], count_, static_cast<double>(shift[c])), out[c]);
}

template <class T>
void ReducePlan::run_on(const T* x, T* y, ThreadPool& pool) const {
  if (outputs_ == 0) return;
  const auto bands = [](int64_t n) { return (n + kColumnBand - 1) / kColumnBand; };
  const int64_t units = by_columns_ ? outputs_ / run_ * bands(run_) : short_rows_ ? bands(outputs_) : outputs_;
  const auto reduce = by_columns_   ? &ReducePlan::columns<T>
                      : short_rows_ ? &ReducePlan::short_rows<T>
                                    : &ReducePlan::rows<T>;
  const int64_t tasks = std::min(units, task_count(count_ * outputs_, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) (this->*reduce)(x, y, u);
  });
}

void ReducePlan::run(const float* x, float* y, ThreadPool& pool) const { run_on(x, y, pool); }
void ReducePlan::run(const bf16* x, bf16* y, ThreadPool& pool) const { run_on(x, y, pool); }

const char* arg_reduce_supports(const ArgReduceProblem& p) {
  return p.outer < 0 || p.length < 1 || p.inner < 0 ? "an empty axis" : nullptr;
}

void arg_reduce(const ArgReduceProblem& p, const float* x, int64_t* y, ThreadPool& pool) {
  const int64_t units = p.outer * p.inner, tasks = std::min(units, task_count(units * p.length, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const float* v = x + u / p.inner * p.length * p.inner + u % p.inner;
      int64_t best = 0;
      float top = v[0];
      for (int64_t i = 1; i < p.length; ++i) {
        const float c = v[i * p.inner];
        const bool nan = c != c, held = top != top;
        const bool better = nan ? !held : !held && (p.smallest ? c < top : c > top);
        if (better || (p.select_last && (c == top || (nan && held)))) best = i, top = c;
      }
      y[u] = best;
    }
  });
}

}  // namespace hone::cpu
