// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/cpu_info.h"

namespace hone::cpu {

// y[c][r] = x[r][c] for r < rows, c < cols; strides in bytes, elements contiguous along a row of x and a column of y.
struct TransposeTile {
  const char* x;
  char* y;
  int64_t rows, cols, x_row, y_col;
};
using TransposeTileFn = void (*)(const TransposeTile&);
struct TransposeTiles {
  TransposeTileFn bytes1, bytes2, bytes4, bytes8;
};

const TransposeTiles& transpose_tiles(Tier tier);

}  // namespace hone::cpu
