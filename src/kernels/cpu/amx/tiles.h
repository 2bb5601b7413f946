// Products by AMX's tiles of 16 rows by 64 bytes: two by two of them are a block of 32 rows and 32 columns. Compiled
// for AMX; tests compile it for any CPU, with the instructions as functions.
#pragma once

#include <cstddef>

#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int kTileRows = 32, kTilePanel = 32;
constexpr int kTileUnits = 16;  // of k that a tile holds, 4 bytes each

// Of A's elements by B's: i8 by i8, u8 by i8, bf16 by bf16.
enum class TileProduct { i8, u8, bf16 };

// Rows of A and [unit][column][4 bytes] of B by way of 4-byte sums, which start from 0. Rows beyond the last one are
// computed and left alone.
struct TileOperands {
  const std::byte* a;
  int64_t a_ld;  // bytes
  const std::byte* b;
  int64_t units;  // of k, a multiple of kTileUnits
  void* sums;     // [kTileRows][kTilePanel]
};

// The layout that ldtilecfg reads.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0 to 3 are sums, 4 and 5 rows of A, 6 and 7 columns of B.
constexpr TileConfig whole_tiles() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = 16;
  }
  return config;
}

// A constant: GCC 12's intrinsic claims to read 8 bytes of it, so that stores to the others could be left out.
inline constexpr TileConfig kTiles = whole_tiles();
static void configure_tiles() { _tile_loadconfig(&kTiles); }
static void release_tiles() { _tile_release(); }

// The instructions' operands are literals.
#define HONE_TILE_PRODUCT(sums, a, b)                 \
  if constexpr (kProduct == TileProduct::i8) {        \
    _tile_dpbssd(sums, a, b);                         \
  } else if constexpr (kProduct == TileProduct::u8) { \
    _tile_dpbusd(sums, a, b);                         \
  } else {                                            \
    _tile_dpbf16ps(sums, a, b);                       \
  }

template <TileProduct kProduct, bool kTall, bool kWide>
void multiply_tiles(const TileOperands& t) {
  _tile_zero(0);
  if constexpr (kWide) _tile_zero(1);
  if constexpr (kTall) _tile_zero(2);
  if constexpr (kTall && kWide) _tile_zero(3);
  const auto a_ld = static_cast<size_t>(t.a_ld);
  constexpr size_t kPitch = size_t{4} * kTilePanel;
  for (int64_t u = 0; u < t.units; u += kTileUnits) {
    const std::byte *a = t.a + 4 * u, *b = t.b + u * static_cast<int64_t>(kPitch);
    _tile_loadd(4, a, a_ld);
    _tile_loadd(6, b, kPitch);
    HONE_TILE_PRODUCT(0, 4, 6)
    if constexpr (kWide) {
      _tile_loadd(7, b + 64, kPitch);
      HONE_TILE_PRODUCT(1, 4, 7)
    }
    if constexpr (kTall) {
      _tile_loadd(5, a + 16 * t.a_ld, a_ld);
      HONE_TILE_PRODUCT(2, 5, 6)
    }
    if constexpr (kTall && kWide) {
      HONE_TILE_PRODUCT(3, 5, 7)
    }
  }
  auto* sums = static_cast<std::byte*>(t.sums);
  std::byte* low = sums + 16 * kPitch;
  _tile_stored(0, sums, kPitch);
  if constexpr (kWide) _tile_stored(1, sums + 64, kPitch);
  if constexpr (kTall) _tile_stored(2, low, kPitch);
  if constexpr (kTall && kWide) _tile_stored(3, low + 64, kPitch);
}
#undef HONE_TILE_PRODUCT

template <TileProduct kProduct>
void multiply_tiles(const TileOperands& t, int rows, int columns) {
  if (rows > 16)
    return columns > 16 ? multiply_tiles<kProduct, true, true>(t) : multiply_tiles<kProduct, true, false>(t);
  columns > 16 ? multiply_tiles<kProduct, false, true>(t) : multiply_tiles<kProduct, false, false>(t);
}

}  // namespace hone::cpu::HONE_TIER_NS
