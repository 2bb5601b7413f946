// Four products of 8 bits at once (vpdpbusd), which wants one side unsigned: values of i8 are gathered with 128 added.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/plain_vnni.h"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int kQuadSums = 24, kQuadVectors = 4;  // of a tile, and of a panel

// kExcess: 128, which is added to i8, or 0.
template <int kExcess>
void gather_quads(const WindowRun& run) {
  const __m512i excess = _mm512_set1_epi8(static_cast<char>(kExcess));
  const auto copy = [&](std::byte* to, __m512i v) { _mm512_storeu_si512(to, _mm512_xor_si512(v, excess)); };
  const int64_t whole = run.count / 64 * 64;
  const __mmask64 rest = (1ull << (run.count - whole)) - 1;
  for (int64_t p = 0; p < run.pixels; ++p) {
    const std::byte* from = run.from + p * run.pixel_step;
    std::byte* to = run.to + p * run.to_step;
    for (int64_t l = 0; l < run.lines; ++l, from += run.line_step, to += run.count) {
      for (int64_t i = 0; i < whole; i += 64) copy(to + i, _mm512_loadu_si512(from + i));
      // A store of all lanes is faster than one of some.
      if (rest != 0) copy(to + whole, _mm512_maskz_loadu_epi8(rest, from + whole));
    }
  }
}

struct QuadTile {
  template <int ROWS, int COLS>
  static void run(const Int8Tile& t) {
    __m512i sums[ROWS][COLS];
    const std::byte* a[ROWS];
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      a[i] = t.a + i * t.a_ld;
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) sums[i][j] = _mm512_loadu_si512(t.start + j * kLanes);
    }
    const int8_t* b = t.b;
    for (int64_t s = 0; s < t.steps; ++s, b += 4 * t.panel) {
      __m512i columns[COLS];
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) columns[j] = _mm512_loadu_si512(b + 4 * j * kLanes);
      HONE_UNROLL
      for (int i = 0; i < ROWS; ++i) {
        int32_t quad;
        std::memcpy(&quad, a[i] + 4 * s, 4);
        const __m512i row = _mm512_set1_epi32(quad);
        HONE_UNROLL
        for (int j = 0; j < COLS; ++j) sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], row, columns[j]);
      }
    }
    if (t.plain != nullptr) return finish_plain(sums, *t.plain);
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) _mm512_storeu_si512(t.sums + i * t.panel + j * kLanes, sums[i][j]);
    }
  }
};

constexpr int kQuadRows = 12;

template <int COLS>
void run_columns(const Int8Tile& t) {
  tile_of<QuadTile, COLS>(t.rows, std::make_integer_sequence<int, std::min(kQuadRows, kQuadSums / COLS)>{})(t);
}

void run_quads(const Int8Tile& t) {
  static constexpr decltype(&run_quads) kColumns[] = {run_columns<1>, run_columns<2>, run_columns<3>, run_columns<4>};
  kColumns[(t.columns - 1) / kLanes](t);
}

template <int kExcess>
constexpr Int8Kernel quads() {
  return {.form = {.rows = kQuadRows,
                   .panel = kQuadVectors * kLanes,
                   .vector = kLanes,
                   .sums = kQuadSums,
                   .k_unit = 4,
                   .k_step = 4,
                   .in_bytes = 1,
                   .a_bytes = 1,
                   .b_bytes = 1,
                   .start_bytes = sizeof(int32_t),
                   .zero = kExcess,
                   .gather = gather_quads<kExcess>},
          .excess = kExcess,
          .run = run_quads,
          .finishes_plain = true};
}

}  // namespace

extern const Int8Kernel kInt8Quads, kUint8Quads;
const Int8Kernel kInt8Quads = quads<128>(), kUint8Quads = quads<0>();

}  // namespace hone::cpu::HONE_TIER_NS
