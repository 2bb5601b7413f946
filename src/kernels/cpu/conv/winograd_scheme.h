// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Winograd's minimal filtering (Lavin and Gray, 2015) of 3x3 convolutions, one struct a scheme: its constant matrices
// for one dim, in which kTile outputs are y = at ((g w) . (bt d)) of three weights w and kPoints inputs d. The dot is
// a product for each of kPoints points; with channels, a matrix product.
//
// Stride 2 is two phases: even inputs meet the outer weights as F(m, 2), and odd inputs the middle weight, whose
// products need no transform and share one factor. Points of the even inputs come first.
#pragma once

#include <algorithm>

namespace hone::cpu {

struct WinogradF2 {
  static constexpr int kTile = 2, kStride = 1, kPoints = 4, kFactors = 4;
  static constexpr double g[4][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
  static constexpr double bt[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
  static constexpr double at[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};
};

struct WinogradF4 {
  static constexpr int kTile = 4, kStride = 1, kPoints = 6, kFactors = 6;
  static constexpr double g[6][3] = {{1. / 4, 0, 0},
                                     {-1. / 6, -1. / 6, -1. / 6},
                                     {-1. / 6, 1. / 6, -1. / 6},
                                     {1. / 24, 1. / 12, 1. / 6},
                                     {1. / 24, -1. / 12, 1. / 6},
                                     {0, 0, 1}};
  static constexpr double bt[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                      {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  static constexpr double at[4][6] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
};

struct WinogradS2F2 {
  static constexpr int kTile = 2, kStride = 2, kPoints = 5, kFactors = 4;
  static constexpr double g[4][3] = {{1, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 1, 0}};
  static constexpr double bt[5][5] = {
      {1, 0, -1, 0, 0}, {0, 0, 1, 0, 0}, {0, 0, -1, 0, 1}, {0, 1, 0, 0, 0}, {0, 0, 0, 1, 0}};
  static constexpr double at[2][5] = {{1, 1, 0, 1, 0}, {0, 1, 1, 0, 1}};
};

struct WinogradS2F4 {
  static constexpr int kTile = 4, kStride = 2, kPoints = 9, kFactors = 6;
  static constexpr double g[6][3] = {{.5, 0, 0},          {-.5, 0, -.5}, {-1. / 6, 0, 1. / 6},
                                     {1. / 6, 0, 1. / 3}, {0, 0, 1},     {0, 1, 0}};
  static constexpr double bt[9][9] = {
      {2, 0, -1, 0, -2, 0, 1, 0, 0}, {0, 0, -2, 0, -1, 0, 1, 0, 0}, {0, 0, 2, 0, -3, 0, 1, 0, 0},
      {0, 0, -1, 0, 0, 0, 1, 0, 0},  {0, 0, 2, 0, -1, 0, -2, 0, 1}, {0, 1, 0, 0, 0, 0, 0, 0, 0},
      {0, 0, 0, 1, 0, 0, 0, 0, 0},   {0, 0, 0, 0, 0, 1, 0, 0, 0},   {0, 0, 0, 0, 0, 0, 0, 1, 0}};
  static constexpr double at[4][9] = {{1, 1, 1, 1, 0, 1, 0, 0, 0},
                                      {0, 1, -1, 2, 0, 0, 1, 0, 0},
                                      {0, 1, 1, 4, 0, 0, 0, 1, 0},
                                      {0, 1, -1, 8, 1, 0, 0, 0, 1}};
};

// The row of g that the products of a point take their factors from.
template <class W>
constexpr int factor_of(int point) {
  return std::min(point, W::kFactors - 1);
}

// u = g w g^T for one 3x3 kernel, in double precision.
template <class W>
void transform_weights(const float* w, double (&u)[W::kFactors][W::kFactors]) {
  for (int i = 0; i < W::kFactors; ++i) {
    double line[3] = {};
    for (int x = 0; x < 3; ++x)
      for (int y = 0; y < 3; ++y) line[x] += W::g[i][y] * w[y * 3 + x];
    for (int j = 0; j < W::kFactors; ++j) u[i][j] = line[0] * W::g[j][0] + line[1] * W::g[j][1] + line[2] * W::g[j][2];
  }
}

}  // namespace hone::cpu
