// Four products of 8 bits at once (vpdpbusd), which wants one side unsigned: values of i8 are gathered with 128 added.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/plain_vnni.h"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int kQuadRows = 12, kQuadSums = 24;  // most of a tile
constexpr int kQuadVectors = 4;                // of a panel

// `count` bytes, and what is behind them in their vectors: a store of all lanes is faster than one of some.
template <int kExcess>
HONE_INLINE void gather_bytes(const std::byte* from, int64_t count, std::byte* to) {
  const __m512i excess = _mm512_set1_epi8(static_cast<char>(kExcess));
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), excess));
  if (i == count) return;
  const __mmask64 rest = (1ull << (count - i)) - 1;
  const __m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, from + i), excess);
  _mm512_storeu_si512(to + i, v);
}

// The same of at most 32, whose stores seldom cross the lines of the cache.
template <int kExcess>
HONE_INLINE void gather_few(const std::byte* from, __mmask32 bytes, std::byte* to) {
  const __m256i v = _mm256_maskz_loadu_epi8(bytes, from);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_xor_si256(v, _mm256_set1_epi8(static_cast<char>(kExcess))));
}

// kExcess: 128, which is added to i8, or 0.
template <int kExcess>
void gather_quads(WindowRun run) {
  if (run.lines == 1 && run.count == run.pixel_step && run.count == run.to_step) {  // all behind each other
    run.count *= run.pixels;
    run.pixels = 1;
  }
  const auto few = static_cast<__mmask32>((1ull << std::min<int64_t>(run.count, 32)) - 1);
  for (int64_t p = 0; p < run.pixels; ++p) {
    const std::byte* from = run.from + p * run.pixel_step;
    std::byte* to = run.to + p * run.to_step;
    for (int64_t l = 0; l < run.lines; ++l, from += run.line_step, to += run.count)
      run.count <= 32 ? gather_few<kExcess>(from, few, to) : gather_bytes<kExcess>(from, run.count, to);
  }
}

// A value that GCC would otherwise load again for each use.
HONE_INLINE void keep(__m512i& v) { asm("" : "+v"(v)); }

template <int ROWS, int COLS>
HONE_INLINE void start_sums(const Int8Tile& t, VI (&sums)[ROWS][COLS]) {
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) {
    HONE_UNROLL
    for (int j = 0; j < COLS; ++j) sums[i][j] = load_i32(t.start + j * kLanes);
  }
}

// What tiles make of a step: four products of bytes, or two of 16 bits.
struct PairSumsOut;

template <class Last>
HONE_INLINE VI add_products(VI sums, __m512i row, __m512i columns) {
  if constexpr (std::is_same_v<Last, PairSumsOut>) return (VI)_mm512_dpwssd_epi32((__m512i)sums, row, columns);
  else return (VI)_mm512_dpbusd_epi32((__m512i)sums, row, columns);
}

// One step of rows that begin at at(row), by the columns at b.
template <class Last, int ROWS, int COLS, class At>
HONE_INLINE void add_step(const int8_t* b, int64_t ahead, VI (&sums)[ROWS][COLS], const At& at) {
  __m512i columns[COLS];
  __builtin_prefetch(b + ahead, 0, 2);
  HONE_UNROLL
  for (int j = 0; j < COLS; ++j) {
    columns[j] = _mm512_loadu_si512(b + kLanes * 4 * j);
    keep(columns[j]);
  }
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) {
    int32_t quad;
    std::memcpy(&quad, at(i), 4);
    const __m512i row = _mm512_set1_epi32(quad);
    HONE_UNROLL
    for (int j = 0; j < COLS; ++j) sums[i][j] = add_products<Last>(sums[i][j], row, columns[j]);
  }
}

// Rows from `row` on, whose sums go to `last`.
template <class Last>
struct QuadRows {
  const Int8Tile& tile;
  const Last& last;
  int64_t row;
};

// kLines: of windows in place; else rows are one line each, at equal distances.
template <class Last, bool kLines>
struct QuadTile {
  template <int ROWS, int COLS>
  static void run(const QuadRows<Last>& rows) {
    const Int8Tile& t = rows.tile;
    VI sums[ROWS][COLS];
    start_sums(t, sums);
    const int8_t* b = t.b;
    // A tile fetches one vector of each step of the next panel, the tiles behind it the others.
    const int64_t ahead = t.a.lines * t.steps * 4 * t.panel + rows.row / ROWS % COLS * 4 * kLanes;
    if constexpr (!kLines) {
      const std::byte* a = t.a.first + rows.row * t.a.ld;
      const int64_t ld = t.a.ld;
      for (int64_t s = 0; s < t.steps; ++s, a += 4, b += int64_t{4} * t.panel)
        add_step<Last>(b, ahead, sums, [&](int i) { return a + i * ld; });
    }
    for (int64_t l = 0; kLines && l < t.a.lines; ++l) {
      const std::byte* a[ROWS];
      HONE_UNROLL
      for (int i = 0; i < ROWS; ++i) a[i] = t.a.line(l, rows.row + i);
      for (int64_t s = 0; s < t.steps; ++s, b += int64_t{4} * t.panel)
        add_step<Last>(b, ahead, sums, [&](int i) { return a[i] + 4 * s; });
    }
    rows.last.store(sums, rows.row);
  }
};

template <int COLS>
constexpr std::make_integer_sequence<int, std::min(kQuadRows, kQuadSums / COLS)> kHeights;

struct SumsOut {
  const Int8Tile& tile;

  template <int ROWS, int COLS>
  HONE_INLINE void store(const VI (&sums)[ROWS][COLS], int64_t) const {
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) store_i32(tile.sums + int64_t{i} * tile.panel + j * kLanes, sums[i][j]);
    }
  }
};

struct PairSumsOut : SumsOut {};

template <int COLS>
void store_sums(const Int8Tile& t) {
  const auto run = t.a.in_place() ? tile_of<QuadTile<SumsOut, true>, COLS>(t.rows, kHeights<COLS>)
                                  : tile_of<QuadTile<SumsOut, false>, COLS>(t.rows, kHeights<COLS>);
  run({t, {t}, 0});
}

template <int COLS>
void store_sums_of_pairs(const Int8Tile& t) {
  tile_of<QuadTile<PairSumsOut, false>, COLS>(t.rows, kHeights<COLS>)({t, {{t}}, 0});
}

void run_pairs(const Int8Tile& t) { t.columns <= kLanes ? store_sums_of_pairs<1>(t) : store_sums_of_pairs<2>(t); }

void run_quads(const Int8Tile& t) {
  static constexpr decltype(&run_quads) kColumns[] = {store_sums<1>, store_sums<2>, store_sums<3>, store_sums<4>};
  kColumns[(t.columns - 1) / kLanes](t);
}

// Weights that stay in the first cache are read for a few rows at once, and while these are multiplied, those before
// them are finished, a row behind each of the first steps: a CPU does not look far enough ahead to do both at once by
// itself.
constexpr int64_t kNearBytes = 32 << 10;
constexpr int kNearRows[] = {6, 6, 4, 3};  // by vectors of columns

// Returns how many rows were.
template <PlainResidual kResidual, int ROWS, int COLS>
int64_t store_near(const Int8Tile& t, const PlainColumns& columns) {
  const PlainRows<kResidual, COLS> finished(columns);
  const int64_t ld = t.a.ld, b_step = int64_t{4} * t.panel, next_panel = t.steps * b_step;
  VI sums[ROWS][COLS];
  int64_t row = 0;
  for (int part = 0; row + ROWS <= t.rows; row += ROWS, part = part + 1 < COLS ? part + 1 : 0) {
    const std::byte* const a = t.a.first + row * ld;
    const int8_t* b = t.b;
    const int64_t ahead = next_panel + kLanes * 4 * part;
    VI next[ROWS][COLS];
    start_sums(t, next);
    const auto step = [&](int64_t s) {
      add_step<PlainOut<kResidual>>(b, ahead, next, [&](int i) { return a + i * ld + 4 * s; });
    };
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i, b += b_step) {
      step(i);
      if (row > 0) finished.store(sums[i], row - ROWS + i);
    }
    for (int64_t s = ROWS; s < t.steps; ++s, b += b_step) step(s);
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) sums[i][j] = next[i][j];
    }
  }
  HONE_UNROLL
  for (int i = 0; i < ROWS && row > 0; ++i) finished.store(sums[i], row - ROWS + i);
  return row;
}

template <PlainResidual kResidual, bool kLines, int COLS>
void store_plain(const Int8Tile& t, const PlainOut<kResidual>& out) {
  using Tile = QuadTile<PlainOut<kResidual>, kLines>;
  int64_t row = 0;
  if constexpr (!kLines) {
    constexpr int kRows = kNearRows[COLS - 1];
    if (t.steps >= kRows && t.steps * t.panel * 4 <= kNearBytes)
      row = store_near<kResidual, kRows, COLS>(t, out.columns);
  }
  const int64_t rest = t.rows - row, most = kHeights<COLS>.size(), tiles = (rest + most - 1) / most;
  for (int64_t i = 0; i < tiles; ++i) {  // of as equal heights as can be
    const int64_t from = rest * i / tiles, height = rest * (i + 1) / tiles - from;
    tile_of<Tile, COLS>(static_cast<int>(height), kHeights<COLS>)({t, out, row + from});
  }
}

template <PlainResidual kResidual, bool kLines>
void store_plain(const Int8Tile& t, const PlainColumns& columns) {
  static constexpr void (*kColumns[])(const Int8Tile&, const PlainOut<kResidual>&) = {
      store_plain<kResidual, kLines, 1>, store_plain<kResidual, kLines, 2>, store_plain<kResidual, kLines, 3>,
      store_plain<kResidual, kLines, 4>};
  kColumns[(t.columns - 1) / kLanes](t, {columns});
}

bool run_plain_quads(const Int8Tile& t, const Int8Finish& job) {
  const PlainColumns columns(job);
  if (!columns.bounded(255.f * 128.f * 4.f * static_cast<float>(t.a.lines * t.steps))) return false;
  const bool lines = t.a.in_place();
  if (columns.residual == nullptr)
    lines ? store_plain<PlainResidual::none, true>(t, columns) : store_plain<PlainResidual::none, false>(t, columns);
  else if (lines) store_plain<PlainResidual::stepped, true>(t, columns);  // by 1, where there is no step
  else if (columns.stepped) store_plain<PlainResidual::stepped, false>(t, columns);
  else store_plain<PlainResidual::whole, false>(t, columns);
  return true;
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
                   .in_place = kExcess == 0,
                   .gather = gather_quads<kExcess>},
          .excess = kExcess,
          .run = run_quads,
          .run_plain = run_plain_quads};
}

}  // namespace

extern const Int16Products kVnniProducts{.rows = kQuadRows, .panel = 2 * kLanes, .run = run_pairs};
extern const Int8Kernel kInt8Quads = quads<128>(), kUint8Quads = quads<0>();

}  // namespace hone::cpu::HONE_TIER_NS
