// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Winograd's minimal filtering (Lavin and Gray, 2015) of 3x3 and 4x4 convolutions, one struct a scheme: its constant
// matrices for one dim, in which kTile outputs are y = at ((g w) . (bt d)) of kTaps weights w and kPoints inputs d. The
// dot is a product for each of kPoints points; with channels, a matrix product.
//
// Stride 2 is two phases: even inputs meet the outer weights as F(m, 2), and odd inputs the middle weight, whose
// products need no transform and share one factor. Points of the even inputs come first.
#pragma once

#include <algorithm>

namespace hone::cpu {

struct WinogradF2 {
  static constexpr int kTaps = 3, kTile = 2, kStride = 1, kPoints = 4, kFactors = 4;
  static constexpr double g[4][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
  static constexpr double bt[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
  static constexpr double at[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};
};

// Points at 0, a, -a, b, -b and infinity, with a = 5/8 and b = 3/2: of all pairs that floats hold with few digits they
// add the least rounding, a quarter of what 1 and 2 add.
struct WinogradF4 {
  static constexpr int kTaps = 3, kTile = 4, kStride = 1, kPoints = 6, kFactors = 6;
  static constexpr double a = 5. / 8, b = 3. / 2, a2 = a * a, b2 = b * b;
  static constexpr double na = 1 / (2 * a * (a2 - b2)), nb = 1 / (2 * b * (b2 - a2));
  static constexpr double g[6][3] = {{1 / (a2 * b2), 0, 0}, {na, na* a, na* a2},  {na, -na* a, na* a2},
                                     {nb, nb* b, nb* b2},   {nb, -nb* b, nb* b2}, {0, 0, 1}};
  static constexpr double bt[6][6] = {{a2 * b2, 0, -a2 - b2, 0, 1, 0}, {0, -a* b2, -b2, a, 1, 0},
                                      {0, a* b2, -b2, -a, 1, 0},       {0, -a2* b, -a2, b, 1, 0},
                                      {0, a2* b, -a2, -b, 1, 0},       {0, a2* b2, 0, -a2 - b2, 0, 1}};
  static constexpr double at[4][6] = {
      {1, 1 / a, 1 / a, 1 / b, 1 / b, 0}, {0, 1, -1, 1, -1, 0}, {0, a, a, b, b, 0}, {0, a2, -a2, b2, -b2, 1}};
};

// Points at 0, a, -a, 1, -1, c and infinity.
struct WinogradSevenPoints {
  static constexpr int kStride = 1, kPoints = 7, kFactors = 7;
  static constexpr double a = 5. / 8, c = 5. / 2, a2 = a * a, c2 = c * c;
  static constexpr double bt[7][7] = {
      {-a2 * c, a2, (a2 + 1) * c, -a2 - 1, -c, 1, 0}, {0, a* c, c - a, -1 - a* c, a - c, 1, 0},
      {0, -a* c, c + a, a* c - 1, -a - c, 1, 0},      {0, a2* c, a2*(c - 1), -a2 - c, 1 - c, 1, 0},
      {0, -a2* c, a2*(c + 1), c - a2, -1 - c, 1, 0},  {0, a2, 0, -a2 - 1, 0, 1, 0},
      {0, -a2* c, a2, (a2 + 1) * c, -a2 - 1, -c, 1}};

 protected:
  static constexpr double na = 1 / (2 * a2 * (a2 - 1)), n1 = 1 / (2 * (1 - a2)), nc = 1 / (c * (c2 - a2) * (c2 - 1));
  static constexpr double na_plus = na / (a - c), na_minus = -na / (a + c);
  static constexpr double n1_plus = n1 / (1 - c), n1_minus = -n1 / (1 + c);
};

struct WinogradF5 : WinogradSevenPoints {
  static constexpr int kTaps = 3, kTile = 5;
  static constexpr double g[7][3] = {{-1 / (a2 * c), 0, 0},
                                     {na_plus, na_plus* a, na_plus* a2},
                                     {na_minus, -na_minus* a, na_minus* a2},
                                     {n1_plus, n1_plus, n1_plus},
                                     {n1_minus, -n1_minus, n1_minus},
                                     {nc, nc* c, nc* c2},
                                     {0, 0, 1}};
  static constexpr double at[5][7] = {{1, 1, 1, 1, 1, 1, 0},
                                      {0, a, -a, 1, -1, c, 0},
                                      {0, a2, a2, 1, 1, c2, 0},
                                      {0, a2* a, -a2* a, 1, -1, c2* c, 0},
                                      {0, a2* a2, a2* a2, 1, 1, c2* c2, 1}};
};

// Of 4x4 convolutions.
struct WinogradF4K4 : WinogradSevenPoints {
  static constexpr int kTaps = 4, kTile = 4;
  static constexpr double g[7][4] = {{-1 / (a2 * c), 0, 0, 0},
                                     {na_plus, na_plus* a, na_plus* a2, na_plus* a2* a},
                                     {na_minus, -na_minus* a, na_minus* a2, -na_minus* a2* a},
                                     {n1_plus, n1_plus, n1_plus, n1_plus},
                                     {n1_minus, -n1_minus, n1_minus, -n1_minus},
                                     {nc, nc* c, nc* c2, nc* c2* c},
                                     {0, 0, 0, 1}};
  static constexpr double at[4][7] = {
      {1, 1, 1, 1, 1, 1, 0}, {0, a, -a, 1, -1, c, 0}, {0, a2, a2, 1, 1, c2, 0}, {0, a2* a, -a2* a, 1, -1, c2* c, 1}};
};

struct WinogradS2F2 {
  static constexpr int kTaps = 3, kTile = 2, kStride = 2, kPoints = 5, kFactors = 4;
  static constexpr double g[4][3] = {{1, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 1, 0}};
  static constexpr double bt[5][5] = {
      {1, 0, -1, 0, 0}, {0, 0, 1, 0, 0}, {0, 0, -1, 0, 1}, {0, 1, 0, 0, 0}, {0, 0, 0, 1, 0}};
  static constexpr double at[2][5] = {{1, 1, 0, 1, 0}, {0, 1, 1, 0, 1}};
};

struct WinogradS2F4 {
  static constexpr int kTaps = 3, kTile = 4, kStride = 2, kPoints = 9, kFactors = 6;
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

// u = g w g^T for one kernel, in double precision.
template <class W>
void transform_weights(const float* w, double (&u)[W::kFactors][W::kFactors]) {
  constexpr int K = W::kTaps;
  for (int i = 0; i < W::kFactors; ++i) {
    double line[K] = {};
    for (int x = 0; x < K; ++x)
      for (int y = 0; y < K; ++y) line[x] += W::g[i][y] * w[y * K + x];
    for (int j = 0; j < W::kFactors; ++j) {
      u[i][j] = 0;
      for (int x = 0; x < K; ++x) u[i][j] += line[x] * W::g[j][x];
    }
  }
}

}  // namespace hone::cpu
