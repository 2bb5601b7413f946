// Products of signed bytes by tiles (tdpbssd).
#pragma once

#include <cstring>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu::HONE_TIER_NS {

static void gather_bytes(const void* from, int64_t count, std::byte* to) {
  std::memcpy(to, from, static_cast<size_t>(count));
}

// The starting sums are zero here.
static void run_int8_tiles(const Int8Tile& t) {
  multiply_tiles<TileProduct::i8>({t.a, t.a_ld, reinterpret_cast<const std::byte*>(t.b), t.steps, t.sums}, t.rows,
                                  t.columns);
}

extern const Int8Kernel kInt8Tiles;
const Int8Kernel kInt8Tiles{.form = {.rows = kTileRows,
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
                            .run = run_int8_tiles};

}  // namespace hone::cpu::HONE_TIER_NS
