// Tiles of 16 rows by 64 bytes (tdpbssd): two by two of them are a block of 32 rows and 32 columns.
#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int kTileRows = 32, kTilePanel = 32, kTileDepth = 64;

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
constexpr TileConfig kTiles = whole_tiles();
void configure() { _tile_loadconfig(&kTiles); }

void release() { _tile_release(); }

void gather_bytes(const int8_t* from, int64_t count, std::byte* to) {
  std::memcpy(to, from, static_cast<size_t>(count));
}

// The starting sums are zero here, and rows beyond the last one are computed and left alone.
template <bool kTall, bool kWide>
void multiply_tiles(const Int8Tile& t) {
  _tile_zero(0);
  if constexpr (kWide) _tile_zero(1);
  if constexpr (kTall) _tile_zero(2);
  if constexpr (kTall && kWide) _tile_zero(3);
  const auto a_ld = static_cast<size_t>(t.a_ld);
  constexpr size_t kPitch = kTilePanel * 4;
  for (int64_t s = 0; s < t.steps; s += kTileDepth / 4) {
    const std::byte* a = t.a + 4 * s;
    const int8_t* b = t.b + s * static_cast<int64_t>(kPitch);
    _tile_loadd(4, a, a_ld);
    _tile_loadd(6, b, kPitch);
    _tile_dpbssd(0, 4, 6);
    if constexpr (kWide) {
      _tile_loadd(7, b + 64, kPitch);
      _tile_dpbssd(1, 4, 7);
    }
    if constexpr (kTall) {
      _tile_loadd(5, a + 16 * t.a_ld, a_ld);
      _tile_dpbssd(2, 5, 6);
    }
    if constexpr (kTall && kWide) _tile_dpbssd(3, 5, 7);
  }
  int32_t* low = t.sums + 16 * kTilePanel;
  _tile_stored(0, t.sums, kPitch);
  if constexpr (kWide) _tile_stored(1, t.sums + 16, kPitch);
  if constexpr (kTall) _tile_stored(2, low, kPitch);
  if constexpr (kTall && kWide) _tile_stored(3, low + 16, kPitch);
}

void run_tiles(const Int8Tile& t) {
  if (t.rows > 16) return t.columns > 16 ? multiply_tiles<true, true>(t) : multiply_tiles<true, false>(t);
  t.columns > 16 ? multiply_tiles<false, true>(t) : multiply_tiles<false, false>(t);
}

}  // namespace

extern const Int8Kernel kInt8Tiles;
const Int8Kernel kInt8Tiles{.rows = kTileRows,
                            .panel = kTilePanel,
                            .k_unit = 4,
                            .k_step = kTileDepth,
                            .a_bytes = 1,
                            .zero = 0,
                            .gather = gather_bytes,
                            .run = run_tiles,
                            .begin = configure,
                            .end = release};

}  // namespace hone::cpu::HONE_TIER_NS
