// Two products of bf16 at once (vdpbf16ps), summed in registers.
#include "kernels/cpu/bf16/gather.h"
#include "kernels/cpu/bf16/kernel.h"
#include "kernels/cpu/bf16/pack.h"
#include "kernels/cpu/gemm/activation.inc"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int kPairRows = 12, kShallowRows = 8, kPairPanel = 2 * kLanes;

template <int ROWS, int COLS>
HONE_INLINE void step(V (&sums)[ROWS][COLS], const std::byte* const (&a)[ROWS], int64_t at, const uint16_t* b) {
  __m512bh columns[COLS];
  HONE_UNROLL
  for (int j = 0; j < COLS; ++j) columns[j] = (__m512bh)_mm512_loadu_si512(b + kLanes * 2 * j);
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) {
    int32_t pair;
    std::memcpy(&pair, a[i] + at, 4);
    const auto row = (__m512bh)_mm512_set1_epi32(pair);
    HONE_UNROLL
    for (int j = 0; j < COLS; ++j) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], row, columns[j]);
  }
}

// T is what the result and the residual hold.
template <class T>
struct PairTile {
  template <int ROWS, int COLS>
  static void run(const Bf16Tile& t) {
    // Few sums in flight would wait for each other: short tiles keep several partial sums.
    constexpr int kWays = ROWS * COLS >= 6 ? 1 : ROWS * COLS >= 3 ? 2 : 4;
    constexpr int64_t kUnit = int64_t{2} * kPairPanel;
    V sums[kWays][ROWS][COLS] = {};
    const uint16_t* b = t.b;
    for (int64_t l = 0; l < t.a.lines; ++l) {
      const std::byte* a[ROWS];
      HONE_UNROLL
      for (int i = 0; i < ROWS; ++i) a[i] = t.a.in_place() ? t.a.line(l, i) : t.a.first + i * t.a.ld;
      int64_t s = 0;
      for (; s + kWays <= t.steps; s += kWays, b += kWays * kUnit) {
        HONE_UNROLL
        for (int w = 0; w < kWays; ++w) step(sums[w], a, 4 * (s + w), b + w * kUnit);
      }
      for (; s < t.steps; ++s, b += kUnit) step(sums[0], a, 4 * s, b);
    }
    HONE_UNROLL
    for (int w = 1; w < kWays; ++w) HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) HONE_UNROLL
    for (int j = 0; j < COLS; ++j) sums[0][i][j] += sums[w][i][j];
    finish_and_store(sums[0], *t.epilogue, t.bias, static_cast<const T*>(t.residual), static_cast<T*>(t.out), t.ld,
                     t.columns - (COLS - 1) * kLanes);
  }
};

template <class T>
void run_pairs(const Bf16Tile& t) {
  tile_of<PairTile<T>, kPairRows>(t.rows, t.columns)(t);
}

constexpr TileForm form_of(int in_bytes, void (*gather)(WindowRun)) {
  return {.rows = kPairRows,
          .shallow_rows = kShallowRows,
          .panel = kPairPanel,
          .k_unit = 2,
          .k_step = 2,
          .in_bytes = in_bytes,
          .a_bytes = 2,
          .b_bytes = 2,
          .pads = true,
          .in_place = in_bytes == 2,
          .gather = gather};
}

}  // namespace

extern const Bf16Kernel kBf16Pairs{form_of(4, gather_runs<float>),
                                   form_of(2, gather_runs<bf16>),
                                   run_pairs<float>,
                                   run_pairs<bf16>,
                                   pack_panel<float>,
                                   pack_panel<bf16>};

}  // namespace hone::cpu::HONE_TIER_NS
