// Four products of 8 bits at once (vpdpbusd), which wants one side unsigned: values are gathered with 128 added.
#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int kQuadRows = 12, kQuadPanel = 2 * kLanes;

void gather_quads(const void* in, int64_t count, std::byte* to) {
  const auto* from = static_cast<const int8_t*>(in);
  const __m512i flip = _mm512_set1_epi8(-128);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), flip));
  if (i == count) return;
  const __mmask64 rest = ~0ull >> (64 - (count - i));
  _mm512_mask_storeu_epi8(to + i, rest, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, from + i), flip));
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
    for (int64_t s = 0; s < t.steps; ++s, b += 4 * kQuadPanel) {
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
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) _mm512_storeu_si512(t.sums + i * kQuadPanel + j * kLanes, sums[i][j]);
    }
  }
};

void run_quads(const Int8Tile& t) { tile_of<QuadTile, kQuadRows>(t.rows, t.columns)(t); }

}  // namespace

extern const Int8Kernel kInt8Quads;
const Int8Kernel kInt8Quads{.form = {.rows = kQuadRows,
                                     .panel = kQuadPanel,
                                     .k_unit = 4,
                                     .k_step = 4,
                                     .in_bytes = 1,
                                     .a_bytes = 1,
                                     .b_bytes = 1,
                                     .start_bytes = sizeof(int32_t),
                                     .zero = 128,
                                     .gather = gather_quads},
                            .excess = 128,
                            .run = run_quads};

}  // namespace hone::cpu::HONE_TIER_NS
