// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hone::cpu {

// What is folded; the other kinds are these with something before or after.
enum class Fold { sum, sum_abs, sum_square, sum_exp, product, max, min };

constexpr int64_t kColumnBand = 64;  // columns, or short rows, reduced together

// T is what is folded: float or bf16.
template <class T>
struct ReduceKernels {
  // Folds n contiguous values into acc. `shift` is subtracted before the exponential of sum_exp.
  double (*row)(Fold fold, const T* x, int64_t n, float shift, double acc);
  // Folds `rows` rows of `width` <= kColumnBand columns, `stride` elements apart, into acc[width].
  void (*columns)(Fold fold, const T* x, int64_t rows, int64_t stride, int64_t width, const float* shift, double* acc);
  // Folds each of `rows` short rows of n values, one behind the other, into acc[rows]; not sum_exp.
  void (*short_rows)(Fold fold, const T* x, int64_t rows, int64_t n, double* acc);
};

}  // namespace hone::cpu
