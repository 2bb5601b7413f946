// Products of bytes by tiles (tdpbssd, tdpbusd).
#pragma once

#include <cstring>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu::HONE_TIER_NS {

static void gather_bytes(WindowRun run) {
  for (int64_t i = 0; i < run.pixels; ++i)
    for (int64_t l = 0; l < run.lines; ++l)
      std::memcpy(run.to + i * run.to_step + l * run.count, run.from + i * run.pixel_step + l * run.line_step,
                  static_cast<size_t>(run.count));
}

// The starting sums are zero here.
template <TileProduct kProduct>
void run_int8_tiles(const Int8Tile& t) {
  multiply_tiles<kProduct>({t.a.first, t.a.ld, reinterpret_cast<const std::byte*>(t.b), t.steps, t.sums}, t.rows,
                           t.columns);
}

template <TileProduct kProduct>
constexpr Int8Kernel kTilesOf{.form = {.rows = kTileRows,
                                       .panel = kTilePanel,
                                       .k_unit = 4,
                                       .k_step = 4 * kTileUnits,
                                       .in_bytes = 1,
                                       .a_bytes = 1,
                                       .b_bytes = 1,
                                       .start_bytes = sizeof(int32_t),
                                       .gather = gather_bytes,
                                       .begin = configure_tiles,
                                       .end = release_tiles},
                              .excess = 0,
                              .run = run_int8_tiles<kProduct>};

extern const Int8Kernel kInt8Tiles, kUint8Tiles;
const Int8Kernel kInt8Tiles = kTilesOf<TileProduct::i8>, kUint8Tiles = kTilesOf<TileProduct::u8>;

}  // namespace hone::cpu::HONE_TIER_NS
