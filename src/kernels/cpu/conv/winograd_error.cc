// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The error model of winograd_error_bound (see conv.h).
#include <algorithm>
#include <cmath>

#include "kernels/cpu/conv/conv.h"
#include "kernels/cpu/conv/winograd_weights.h"

namespace hone::cpu {
namespace {

// Roundings met by one value in the two passes of the input and output transforms, and by a weight.
constexpr double kTransformRoundings = 17;

template <int TILE>
double error_bound(const ConvProblem& p, const float* weights) {
  constexpr int S = TILE + 2;
  using Mat = WinogradMatrices<TILE>;
  double b2[S] = {}, worst_error = 0, widest = 0;
  for (int i = 0; i < S; ++i)
    for (int k = 0; k < S; ++k) b2[i] += Mat::bt[i][k] * Mat::bt[i][k];

  for (int64_t oc = 0; oc < p.cout; ++oc) {
    double products[S][S] = {}, range = 0;  // mean squares of each point's sum, and of the output
    for (int64_t ic = 0; ic < p.cin; ++ic) {
      const float* w = weights + (oc * p.cin + ic) * 9;
      double u[S][S];
      transform_weights<TILE>(w, u);
      for (int i = 0; i < S; ++i)
        for (int j = 0; j < S; ++j) products[i][j] += u[i][j] * u[i][j] * b2[i] * b2[j];
      for (int k = 0; k < 9; ++k) range += double{w[k]} * w[k];
    }
    for (int y = 0; y < TILE; ++y)
      for (int x = 0; x < TILE; ++x) {
        double sum = 0;
        for (int i = 0; i < S; ++i)
          for (int j = 0; j < S; ++j) sum += std::pow(Mat::at[y][i] * Mat::at[x][j], 2) * products[i][j];
        worst_error = std::max(worst_error, sum);
      }
    widest = std::max(widest, range);
  }
  if (widest == 0) return 0;
  // The k-th partial sum has k / cin of the final variance, and each one is rounded.
  const double roundings = kTransformRoundings + (static_cast<double>(p.cin) + 1) / 2;
  const double unit = std::ldexp(1.0, -24) / std::sqrt(3.0);
  return 6 * unit * std::sqrt(roundings * worst_error) / (4 * std::sqrt(widest));
}

}  // namespace

double winograd_error_bound(const ConvProblem& p, const float* weights, int tile) {
  if (p.kh != 3 || p.kw != 3 || p.groups != 1) return 0;
  return tile == 2 ? error_bound<2>(p, weights) : error_bound<4>(p, weights);
}

}  // namespace hone::cpu
