// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Register tiles are compiled for every number of rows: which of them is run is looked up here. Included by kernels
// built once per tier.
#pragma once

#include <utility>

#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {

template <class Tile, int COLS, int... I>
auto tile_of(int rows, std::integer_sequence<int, I...>) {
  static constexpr decltype(&Tile::template run<1, COLS>) kTable[] = {&Tile::template run<I + 1, COLS>...};
  return kTable[rows - 1];
}

// Tile::run<rows, vectors of columns>, for 1 to MOST rows and as many vectors, one or two, as hold `columns`.
template <class Tile, int MOST>
auto tile_of(int rows, int64_t columns) {
  constexpr std::make_integer_sequence<int, MOST> kRows;
  return columns <= kLanes ? tile_of<Tile, 1>(rows, kRows) : tile_of<Tile, 2>(rows, kRows);
}

}  // namespace hone::cpu::HONE_TIER_NS
