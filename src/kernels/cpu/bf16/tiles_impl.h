// Products of bf16 by tiles (tdpbf16ps).
#pragma once

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/bf16/gather.h"
#include "kernels/cpu/bf16/kernel.h"
#include "kernels/cpu/bf16/pack.h"
#include "kernels/cpu/gemm/activation.inc"

namespace hone::cpu::HONE_TIER_NS {

// ROWS rows of sums from `row` on, a vector of each at once, so that one bias does for all.
template <int ROWS, class T>
void finish_rows(const Bf16Tile& t, int row) {
  const int64_t at = row * t.ld;
  for (int c = 0; c < t.columns; c += kLanes) {
    V v[ROWS][1];
    for (int i = 0; i < ROWS; ++i) v[i][0] = load(t.sums + (row + i) * kTilePanel + c);
    finish_and_store(v, *t.epilogue, t.bias == nullptr ? nullptr : t.bias + c,
                     t.residual == nullptr ? nullptr : static_cast<const T*>(t.residual) + at + c,
                     static_cast<T*>(t.out) + at + c, t.ld, t.columns - c < kLanes ? t.columns - c : kLanes);
  }
}

// T is what the result and the residual hold.
template <class T>
void run_bf16_tiles(const Bf16Tile& t) {
  multiply_tiles<TileProduct::bf16>({t.a.first, t.a.ld, reinterpret_cast<const std::byte*>(t.b), t.steps, t.sums},
                                    t.rows, t.columns);
  int row = 0;
  for (; row + 4 <= t.rows; row += 4) finish_rows<4, T>(t, row);
  for (; row < t.rows; ++row) finish_rows<1, T>(t, row);
}

constexpr TileForm bf16_tile_form(int in_bytes, void (*gather)(WindowRun)) {
  return {.rows = kTileRows,
          .panel = kTilePanel,
          .k_unit = 2,
          .k_step = 2 * kTileUnits,
          .in_bytes = in_bytes,
          .a_bytes = 2,
          .b_bytes = 2,
          .pads = true,
          .gather = gather,
          .begin = configure_tiles,
          .end = release_tiles};
}

extern const Bf16Kernel kBf16Tiles;
const Bf16Kernel kBf16Tiles{bf16_tile_form(4, gather_runs<float>),
                            bf16_tile_form(2, gather_runs<bf16>),
                            run_bf16_tiles<float>,
                            run_bf16_tiles<bf16>,
                            pack_panel<float>,
                            pack_panel<bf16>};

}  // namespace hone::cpu::HONE_TIER_NS
