// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Winograd's constant matrices and the transform of weights, in double precision.
#pragma once

namespace hone::cpu {

template <int TILE>
struct WinogradMatrices;

template <>
struct WinogradMatrices<2> {
  static constexpr double g[4][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
  static constexpr double bt[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
  static constexpr double at[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};
};

template <>
struct WinogradMatrices<4> {
  static constexpr double g[6][3] = {{1. / 4, 0, 0},           {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
                                     {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};
  static constexpr double bt[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                      {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  static constexpr double at[4][6] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
};

// u = G w G^T for one 3x3 kernel.
template <int TILE>
void transform_weights(const float* w, double (&u)[TILE + 2][TILE + 2]) {
  constexpr auto& g = WinogradMatrices<TILE>::g;
  for (int i = 0; i < TILE + 2; ++i) {
    double line[3] = {};
    for (int x = 0; x < 3; ++x)
      for (int y = 0; y < 3; ++y) line[x] += g[i][y] * w[y * 3 + x];
    for (int j = 0; j < TILE + 2; ++j) u[i][j] = line[0] * g[j][0] + line[1] * g[j][1] + line[2] * g[j][2];
  }
}

}  // namespace hone::cpu
