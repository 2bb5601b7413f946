// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The kernels of fast inner products (see fip_kernel.h).
#include <utility>

#include "kernels/cpu/gemm/activation.inc"
#include "kernels/cpu/gemm/fip_kernel.h"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int64_t kFipPanel = 2 * kLanes;  // columns

// Sums of neighbouring lanes, of `a` and then of `b`.
template <int... I>
HONE_INLINE V add_neighbours(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
}

// Lane i is the sum of all lanes of v[i].
HONE_INLINE V sums_of(V (&v)[kLanes]) {
  HONE_UNROLL
  for (int64_t n = kLanes / 2; n > 0; n /= 2) HONE_UNROLL
  for (int64_t i = 0; i < n; ++i)
    v[i] = add_neighbours(v[2 * i], v[2 * i + 1], std::make_integer_sequence<int, kLanes>());
  return v[0];
}

// What rows of so many values have in common.
struct RowShape {
  int64_t k, vectors;    // whole ones
  int64_t groups;        // but for the last
  int64_t last;          // its start
  __mmask16 rest, part;  // lanes of values behind the whole vectors, and of one of its parts
  int64_t parts;         // how many values these have

  explicit RowShape(int64_t count)
      : k(count),
        vectors(k / kLanes),
        groups(k / kFipGroup),
        last(groups * kFipGroup),
        rest(static_cast<__mmask16>((1u << (k % kLanes)) - 1)),
        part(static_cast<__mmask16>((1u << ((k - last) / 3)) - 1)),
        parts((k - last) / 3) {}
};

// Of a row times `scale`: the squares, and what pairs add too much, to be summed.
HONE_INLINE void add_up(const float* row, const RowShape& shape, float scale, V& squares, V& pairs) {
  const V s = set1(scale);
  const auto add_square = [](V v, V& to) { to = fma(v, v, to); };
  V even = {}, odd = {};
  int64_t i = 0;
  for (; i + 2 <= shape.vectors; i += 2) {
    add_square(load(row + i * kLanes) * s, even);
    add_square(load(row + (i + 1) * kLanes) * s, odd);
  }
  if (i < shape.vectors) add_square(load(row + i * kLanes) * s, even);
  add_square(V(_mm512_maskz_loadu_ps(shape.rest, row + shape.vectors * kLanes)) * s, odd);
  squares = even + odd;

  const __m256 scale_of_part = _mm256_set1_ps(scale);
  const auto part_of = [&](const float* at) { return _mm256_mul_ps(_mm256_loadu_ps(at), scale_of_part); };
  const auto add_pairs = [&](const float* group, __m256& to) {
    to = _mm256_fmadd_ps(part_of(group + kFipPart), part_of(group + 2 * kFipPart), to);
  };
  __m256 products[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (i = 0; i + 2 <= shape.groups; i += 2) {
    add_pairs(row + i * kFipGroup, products[0]);
    add_pairs(row + (i + 1) * kFipGroup, products[1]);
  }
  if (i < shape.groups) add_pairs(row + i * kFipGroup, products[0]);
  const float* const last = row + shape.last;
  const V of_last = (V(_mm512_maskz_loadu_ps(shape.part, last + shape.parts)) * s) *
                    (V(_mm512_maskz_loadu_ps(shape.part, last + 2 * shape.parts)) * s);
  V signs;
  HONE_UNROLL
  for (int j = 0; j < kLanes; ++j) signs[j] = j % 2 == 0 ? 1.f : -1.f;
  const __m256 sum = _mm256_add_ps(products[0], products[1]);
  pairs = fma(V(_mm512_insertf32x8(_mm512_setzero_ps(), sum, 0)), signs, of_last);
}

// Exponents of powers of two by which rows of such squares get norms between 0.7 and 1.42.
HONE_INLINE VI exponents_for(V squares) { return -(((as_int(squares) >> 23) - set1i(126)) >> 1); }
HONE_INLINE V powers_of_two(VI exponents) { return as_float((exponents + set1i(127)) << 23); }

HONE_INLINE void store_scaled(const float* row, const RowShape& shape, float scale, float* to) {
  const V s = set1(scale);
  for (int64_t i = 0; i < shape.vectors; ++i) store(to + i * kLanes, load(row + i * kLanes) * s);
  const int64_t at = shape.vectors * kLanes;
  _mm512_mask_storeu_ps(to + at, shape.rest, V(_mm512_maskz_loadu_ps(shape.rest, row + at)) * s);
}

HONE_INLINE float largest_of(const float* row, const RowShape& shape) {
  const int64_t at = shape.vectors * kLanes;
  V most = abs(V(_mm512_maskz_loadu_ps(shape.rest, row + at)));
  for (int64_t i = 0; i < at; i += kLanes) most = max(most, abs(load(row + i)));
  float largest = 0;
  for (int i = 0; i < kLanes; ++i) largest = most[i] > largest ? most[i] : largest;
  return largest;
}

// Of a row of zeros, or whose squares f32 does not hold, or hardly, or which are no numbers.
static __attribute__((noinline)) void prepare_extreme(const float* row, const RowShape& shape, float* to) {
  const float largest = largest_of(row, shape);
  if (largest == 0) {  // or NaN: multiplied by 0, as sums that do not quite cancel count for nothing
    store_scaled(row, shape, 1.f, to + kFipHead);
    to[0] = to[1] = 0;
    return;
  }
  const auto within = [](int exponent) { return exponent < -126 ? -126 : exponent > 126 ? 126 : exponent; };
  const auto power_of_two = [](int exponent) { return powers_of_two(set1i(exponent))[0]; };
  const int first = within(127 - as_int(set1(largest))[0] / (1 << 23));
  V squares[kLanes] = {}, pairs[kLanes] = {};
  add_up(row, shape, power_of_two(first), squares[0], pairs[0]);
  const int exponent = within(first + exponents_for(sums_of(squares))[0]);
  const float rest = power_of_two(exponent - first), start = -sums_of(pairs)[0] * rest * rest;
  store_scaled(row, shape, power_of_two(exponent), to + kFipHead);
  to[0] = power_of_two(-exponent);
  to[1] = start;
}

// Up to a vector's lanes of rows, from row0 on.
static void prepare_some(const FipRows& job, const RowShape& shape, int64_t row0, int count) {
  const float* const* const rows = job.rows + row0;
  const int64_t apart = job.apart;
  float* const first = job.to + row0 * apart;
  V squares[kLanes], pairs[kLanes];
  for (int i = 0; i < count; ++i) add_up(rows[i], shape, 1.f, squares[i], pairs[i]);
  for (int i = count; i < kLanes; ++i) {
    squares[i] = set1(1.f);
    pairs[i] = V{};
  }
  const V norms = sums_of(squares);
  const VI exponents = exponents_for(norms);
  const V scales = powers_of_two(exponents), inverses = powers_of_two(-exponents),
          starts = -sums_of(pairs) * scales * scales;
  float scale[kLanes], inverse[kLanes], start[kLanes];
  store(scale, scales);
  store(inverse, inverses);
  store(start, starts);
  // Where a norm is no number, this is not true either.
  const VI ordinary = (norms > set1(0x1p-100f)) & (norms < set1(0x1p100f));
  const bool all = _mm512_movepi32_mask((__m512i)ordinary) == 0xffff;
  float* to = first;
  for (int i = 0; i < count; ++i, to += apart) {
    if (!all && ordinary[i] == 0) {
      prepare_extreme(rows[i], shape, to);
      continue;
    }
    to[0] = inverse[i];
    to[1] = start[i];
    store_scaled(rows[i], shape, scale[i], to + kFipHead);
  }
}

// As many rows at a time as stay in the first-level cache until they are scaled.
void prepare_rows(const FipRows& job) {
  constexpr int64_t kFloats = 4096;
  const RowShape shape(job.k);
  const int64_t fit = kFloats / job.k, most = fit > kLanes ? kLanes : fit < 1 ? 1 : fit;
  for (int64_t i = 0; i < job.m; i += most)
    prepare_some(job, shape, i, static_cast<int>(job.m - i < most ? job.m - i : most));
}

// With a value of a row from memory: to broadcast it apart would take a slot of the adders. In assembly, as the
// compiler would do so where a value is used twice, and move sums to other registers.
HONE_INLINE V plus(V b, const float& a) {
  V sum;
  asm("vaddps %2%{1to16%}, %1, %0" : "=v"(sum) : "v"(b), "m"(a));
  return sum;
}
HONE_INLINE V minus(V b, const float& a) {
  V difference;
  asm("vsubps %2%{1to16%}, %1, %0" : "=v"(difference) : "v"(b), "m"(a));
  return difference;
}
HONE_INLINE void add_product(V& c, V b, const float& a) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(a));
}
HONE_INLINE void add_product(V& c, V a, V b) { asm("vfmadd231ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b)); }
HONE_INLINE void subtract_product(V& c, V a, V b) { asm("vfnmadd231ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b)); }

// A value of each row as it is, and one pair.
template <bool MINUS, int ROWS, int COLS>
HONE_INLINE void fip_step(V (&c)[ROWS][COLS], const float* a, int64_t apart, int64_t part, const float* b,
                          const float*& ahead) {
  __builtin_prefetch(ahead, 0, 2);
  __builtin_prefetch(ahead + kLanes, 0, 2);
  ahead += 2 * kLanes;
  V plain[COLS], first[COLS], second[COLS];
  HONE_UNROLL
  for (int j = 0; j < COLS; ++j) {
    plain[j] = load(b + j * kLanes);
    first[j] = load(b + kFipPanel + j * kLanes);
    second[j] = load(b + 2 * kFipPanel + j * kLanes);
  }
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i, a = next_row(a, apart)) {
    const float &x1 = a[part], &x2 = a[2 * part];
    HONE_UNROLL
    for (int j = 0; j < COLS; ++j) {
      add_product(c[i][j], plain[j], *a);
      if constexpr (MINUS) subtract_product(c[i][j], minus(second[j], x1), minus(first[j], x2));
      else add_product(c[i][j], plus(second[j], x1), plus(first[j], x2));
    }
  }
}

template <int ROWS, int COLS>
HONE_INLINE void plain_step(V (&c)[ROWS][COLS], const float* a, int64_t apart, const float* b) {
  V bv[COLS];
  HONE_UNROLL
  for (int j = 0; j < COLS; ++j) bv[j] = load(b + j * kLanes);
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i, a = next_row(a, apart)) {
    HONE_UNROLL
    for (int j = 0; j < COLS; ++j) add_product(c[i][j], bv[j], *a);
  }
}

struct FipTiles {
  template <int ROWS, int COLS>
  static void run(const PanelJob& job, int64_t row, int64_t end) {
    const int last = static_cast<int>(job.n - (COLS - 1) * kLanes);
    const int64_t apart = job.rows_apart, floats = fip_panel_floats(job.depth, kFipPanel);
    for (; row < end; row += ROWS) {
      const float *const first = job.rows[0] + row * apart, *a = first + kFipHead, *b = job.b + kFipPanel;
      // A third of the next panel, another one in each tile: loads are what there is least room for.
      const float* ahead = job.b + floats + row / ROWS % 3 * (floats / 3);
      V c[ROWS][COLS];
      HONE_UNROLL
      for (int i = 0; i < ROWS; ++i) HONE_UNROLL
      for (int j = 0; j < COLS; ++j) c[i][j] = set1(first[i * apart + 1]) + load(b + j * kLanes);
      b += kFipPanel;
      int64_t k = job.depth;
      for (; k >= kFipGroup; k -= kFipGroup, a += kFipGroup - kFipPart)
        for (int i = 0; i < kFipPart; i += 2, a += 2, b += 6 * kFipPanel) {
          fip_step<false>(c, a, apart, kFipPart, b, ahead);
          fip_step<true>(c, a + 1, apart, kFipPart, b + 3 * kFipPanel, ahead);
        }
      const int64_t part = k / 3;
      for (int64_t i = 0; i < part; ++i, ++a, b += 3 * kFipPanel) fip_step<false>(c, a, apart, part, b, ahead);
      a += 2 * part;
      for (k -= 3 * part; k > 0; --k, ++a, b += kFipPanel) plain_step(c, a, apart, b);
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) {
        const V scale = load(job.b + j * kLanes);
        HONE_UNROLL
        for (int i = 0; i < ROWS; ++i) c[i][j] = c[i][j] * scale * set1(first[i * apart]);
      }
      for (const float* from : job.start)
        if (from != nullptr) add_rows<false>(c, from + row * kFipPanel, kFipPanel, kLanes);
      if (job.sums != nullptr) {
        store_rows<false>(c, job.sums + row * kFipPanel, kFipPanel, kLanes);
        continue;
      }
      const float* residual = job.residual == nullptr ? nullptr : job.residual + row * job.ldc;
      finish_and_store(c, *job.epilogue, job.bias, residual, job.c + row * job.ldc, job.ldc, last);
    }
  }
};

void run_fip(const PanelJob& job) {
  const int64_t tiles = (job.m + kFipRows - 1) / kFipRows;
  const int64_t low = job.m / tiles, tall_rows = job.m % tiles * (low + 1);
  const auto run = [&](int64_t rows) { return tile_of<FipTiles, kFipRows>(static_cast<int>(rows), job.n); };
  if (tall_rows > 0) run(low + 1)(job, 0, tall_rows);
  run(low)(job, tall_rows, job.m);
}

}  // namespace hone::cpu::HONE_TIER_NS
