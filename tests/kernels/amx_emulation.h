// AMX's instructions as functions, after the pseudocode of the Intel SDM, so that kernels made of them run on any CPU.
// To be included before the kernels, in a file that is compiled without instruction sets.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AMX_TILE__)
#error "the instructions are there"
#endif

namespace hone::cpu {

struct Tiles {
  struct Tile {
    int rows = 0, row_bytes = 0;
    std::byte bytes[16][64] = {};
  };
  Tile tile[8];

  static Tiles& state() {
    static Tiles tiles;
    return tiles;
  }
};

inline void _tile_loadconfig(const void* config) {
  uint8_t bytes[64];
  std::memcpy(bytes, config, sizeof bytes);
  ASSERT_EQ(bytes[0], 1) << "palette";
  for (size_t i = 0; i < 8; ++i) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * i, 2);
    ASSERT_LE(row_bytes, 64);
    ASSERT_LE(bytes[48 + i], 16);
    Tiles::state().tile[i] = {.rows = bytes[48 + i], .row_bytes = row_bytes};
  }
}

inline void _tile_release() { Tiles::state() = {}; }

inline void _tile_zero(int tile) { std::memset(Tiles::state().tile[tile].bytes, 0, sizeof(Tiles::Tile::bytes)); }

inline void _tile_loadd(int tile, const void* from, size_t pitch) {
  Tiles::Tile& t = Tiles::state().tile[tile];
  ASSERT_GT(t.rows, 0) << "not configured";
  _tile_zero(tile);
  for (int r = 0; r < t.rows; ++r)
    std::memcpy(t.bytes[r], static_cast<const std::byte*>(from) + static_cast<size_t>(r) * pitch,
                static_cast<size_t>(t.row_bytes));
}

inline void _tile_stored(int tile, void* to, size_t pitch) {
  const Tiles::Tile& t = Tiles::state().tile[tile];
  ASSERT_GT(t.rows, 0) << "not configured";
  for (int r = 0; r < t.rows; ++r)
    std::memcpy(static_cast<std::byte*>(to) + static_cast<size_t>(r) * pitch, t.bytes[r],
                static_cast<size_t>(t.row_bytes));
}

// sums[m][n] = add(sums[m][n], four bytes of A's row m, four of B's column n), for all k.
template <class Sum, class Add>
void tile_product(int sums, int a, int b, Add add) {
  Tiles& tiles = Tiles::state();
  const Tiles::Tile &rows = tiles.tile[a], &columns = tiles.tile[b];
  Tiles::Tile& to = tiles.tile[sums];
  ASSERT_GT(to.rows, 0) << "not configured";
  for (int m = 0; m < to.rows; ++m) {
    for (int k = 0; k < rows.row_bytes / 4; ++k) {
      for (int n = 0; n < to.row_bytes / 4; ++n) {
        Sum sum;
        std::memcpy(&sum, to.bytes[m] + 4 * n, 4);
        sum = add(sum, rows.bytes[m] + 4 * k, columns.bytes[k] + 4 * n);
        std::memcpy(to.bytes[m] + 4 * n, &sum, 4);
      }
    }
  }
}

// T: of A's elements; B's are i8.
template <class T>
void byte_tile_product(int sums, int a, int b) {
  tile_product<int32_t>(sums, a, b, [](int32_t sum, const std::byte* x, const std::byte* y) {
    for (int i = 0; i < 4; ++i) sum += static_cast<T>(x[i]) * static_cast<int8_t>(y[i]);
    return sum;
  });
}

inline void _tile_dpbssd(int sums, int a, int b) { byte_tile_product<int8_t>(sums, a, b); }
inline void _tile_dpbusd(int sums, int a, int b) { byte_tile_product<uint8_t>(sums, a, b); }

inline void _tile_dpbf16ps(int sums, int a, int b) {
  const auto value = [](const std::byte* at) {
    uint16_t bits;
    std::memcpy(&bits, at, 2);
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  };
  tile_product<float>(sums, a, b, [&](float sum, const std::byte* x, const std::byte* y) {
    sum += value(x) * value(y);
    return sum + value(x + 2) * value(y + 2);
  });
}

}  // namespace hone::cpu
