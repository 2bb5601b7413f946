// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/conv/winograd_error.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/conv/winograd_scheme.h"

namespace hone::cpu {
namespace {

// Roundings met by one value in the two passes of the input and output transforms, and by a weight.
constexpr double kTransformRoundings = 17;

// Sums over input channels of the products of a filter's weights, two by two.
template <int K>
using Moments = std::array<std::array<double, size_t{K} * K>, size_t{K} * K>;

template <int K>
Moments<K> moments(const float* weights, int64_t channels) {
  Moments<K> m{};
  for (int64_t ic = 0; ic < channels; ++ic) {
    const float* w = weights + ic * K * K;
    for (int a = 0; a < K * K; ++a)
      for (int b = 0; b <= a; ++b) m[a][b] += double{w[a]} * w[b];
  }
  for (int a = 0; a < K * K; ++a)
    for (int b = 0; b < a; ++b) m[b][a] = m[a][b];
  return m;
}

// Of a factor's weights, which are sums of the filter's: the sum of their squares.
template <class W>
double squares(const Moments<W::kTaps>& m, int i, int j) {
  constexpr int K = W::kTaps;
  double sum = 0;
  for (int a = 0; a < K * K; ++a)
    for (int b = 0; b < K * K; ++b) sum += W::g[i][a / K] * W::g[j][a % K] * W::g[i][b / K] * W::g[j][b % K] * m[a][b];
  return std::max(sum, 0.0);
}

// What the rounding of every product's factor makes of the widest output's error, as a share of its deviation.
template <class W>
double amplification(const ConvProblem& p, const float* weights) {
  constexpr int S = W::kPoints, F = W::kFactors, K = W::kTaps;
  if (p.kh != K || p.kw != K || p.groups != 1) return 0;
  double b2[S] = {}, worst_error = 0, widest = 0;
  for (int i = 0; i < S; ++i)
    for (int k = 0; k < S; ++k) b2[i] += W::bt[i][k] * W::bt[i][k];

  for (int64_t oc = 0; oc < p.cout; ++oc) {
    const auto m = moments<K>(weights + oc * p.cin * K * K, p.cin);
    double factors[F][F], range = 0;
    for (int i = 0; i < F; ++i)
      for (int j = 0; j < F; ++j) factors[i][j] = squares<W>(m, i, j);
    for (int a = 0; a < K * K; ++a) range += m[a][a];
    for (int y = 0; y < W::kTile; ++y)
      for (int x = 0; x < W::kTile; ++x) {
        double sum = 0;
        for (int i = 0; i < S; ++i)
          for (int j = 0; j < S; ++j)
            sum += std::pow(W::at[y][i] * W::at[x][j], 2) * factors[factor_of<W>(i)][factor_of<W>(j)] * b2[i] * b2[j];
        worst_error = std::max(worst_error, sum);
      }
    widest = std::max(widest, range);
  }
  return widest == 0 ? 0 : std::sqrt(worst_error / widest);
}

// Six deviations of `roundings` errors of numbers of so many bits, over a range of four deviations.
double bound(double roundings, int bits, double amplification) {
  return 6 * std::ldexp(1.0, -bits) / std::sqrt(3.0) * std::sqrt(roundings) * amplification / 4;
}

}  // namespace

template <class W>
double winograd_error(const ConvProblem& p, const float* weights, double roundings) {
  return bound(kTransformRoundings + roundings, 24, amplification<W>(p, weights));
}

template <class W>
double winograd_error_in_bf16(const ConvProblem& p, const float* weights) {
  return bound(2, 8, amplification<W>(p, weights));
}

template double winograd_error<WinogradF2>(const ConvProblem&, const float*, double);
template double winograd_error<WinogradF4>(const ConvProblem&, const float*, double);
template double winograd_error<WinogradF5>(const ConvProblem&, const float*, double);
template double winograd_error<WinogradF4K4>(const ConvProblem&, const float*, double);
template double winograd_error<WinogradS2F2>(const ConvProblem&, const float*, double);
template double winograd_error<WinogradS2F4>(const ConvProblem&, const float*, double);
template double winograd_error_in_bf16<WinogradF2>(const ConvProblem&, const float*);
template double winograd_error_in_bf16<WinogradS2F2>(const ConvProblem&, const float*);

}  // namespace hone::cpu
