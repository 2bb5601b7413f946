// Products of 8 bits by way of 16: pairs of products of widened values, which no sum of two can overflow.
#pragma once

#include <type_traits>

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {

#if defined(__AVX512F__)
constexpr int kPairRows = 12;
#elif defined(__AVX2__)
constexpr int kPairRows = 6;
#else
constexpr int kPairRows = 2;
#endif
constexpr int kPairPanel = 2 * kLanes;

// To 16 bits each. T: int8_t or uint8_t.
template <class T>
HONE_INLINE void gather_line(const T* from, int64_t count, int16_t* out) {
  int64_t i = 0;
#if defined(__AVX2__)
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    const __m256i wide = std::is_signed_v<T> ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), wide);
  }
#endif
  for (; i < count; ++i) out[i] = from[i];
}

template <class T>
void gather_pairs(WindowRun run) {
  for (int64_t i = 0; i < run.pixels; ++i)
    for (int64_t l = 0; l < run.lines; ++l)
      gather_line(reinterpret_cast<const T*>(run.from + i * run.pixel_step + l * run.line_step), run.count,
                  reinterpret_cast<int16_t*>(run.to + i * run.to_step + l * 2 * run.count));
}

struct PairTile {
  template <int ROWS, int COLS>
  static void run(const Int8Tile& t) {
    VI sums[ROWS][COLS];
    const std::byte* a[ROWS];
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      a[i] = t.a.first + i * t.a.ld;
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) sums[i][j] = load_i32(t.start + j * kLanes);
    }
    const int8_t* b = t.b;
    for (int64_t s = 0; s < t.steps; ++s, b += 2 * kPairPanel) {
      VI columns[COLS];
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) columns[j] = widen_pairs(b + 2 * j * kLanes);
      HONE_UNROLL
      for (int i = 0; i < ROWS; ++i) {
        int32_t pair;
        std::memcpy(&pair, a[i] + 4 * s, 4);
        const VI row = set1i(pair);
        HONE_UNROLL
        for (int j = 0; j < COLS; ++j) sums[i][j] += multiply_pairs(row, columns[j]);
      }
    }
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) store_i32(t.sums + i * kPairPanel + j * kLanes, sums[i][j]);
    }
  }
};

static void run_pairs(const Int8Tile& t) { tile_of<PairTile, kPairRows>(t.rows, t.columns)(t); }

template <class T>
constexpr Int8Kernel kPairsOf{.form = {.rows = kPairRows,
                                       .panel = kPairPanel,
                                       .k_unit = 2,
                                       .k_step = 2,
                                       .in_bytes = 1,
                                       .a_bytes = 2,
                                       .b_bytes = 1,
                                       .start_bytes = sizeof(int32_t),
                                       .gather = gather_pairs<T>},
                              .excess = 0,
                              .run = run_pairs};

extern const Int8Kernel kInt8Pairs, kUint8Pairs;
const Int8Kernel kInt8Pairs = kPairsOf<int8_t>, kUint8Pairs = kPairsOf<uint8_t>;

}  // namespace hone::cpu::HONE_TIER_NS
