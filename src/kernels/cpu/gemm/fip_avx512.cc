// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The kernels of fast inner products (see fip.h).
#include "kernels/cpu/gemm/activation.inc"
#include "kernels/cpu/gemm/fip.h"
#include "kernels/cpu/register_tiles.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int kFipPanel = 2 * kLanes;  // columns

typedef int32_t Lanes __attribute__((vector_size(kLanes * 4)));

// Sums of neighbouring lanes, of `a` and then of `b`.
HONE_INLINE V add_neighbours(V a, V b) {
  Lanes even, odd;
  HONE_UNROLL
  for (int i = 0; i < kLanes; ++i) {
    even[i] = 2 * i;
    odd[i] = 2 * i + 1;
  }
  return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

// Lane i is the sum of all lanes of v[i].
HONE_INLINE V sums_of(V (&v)[kLanes]) {
  HONE_UNROLL
  for (int n = kLanes / 2; n > 0; n /= 2) HONE_UNROLL
  for (int i = 0; i < n; ++i) v[i] = add_neighbours(v[2 * i], v[2 * i + 1]);
  return v[0];
}

// A part of a group.
typedef float P __attribute__((vector_size(kFipPart * 4)));
typedef float PUnaligned __attribute__((vector_size(kFipPart * 4), aligned(4), may_alias));
HONE_INLINE P load_of_part(const float* p) { return *reinterpret_cast<const PUnaligned*>(p); }

// Of a row times `scale`: the squares, and what pairs add too much, to be summed.
HONE_INLINE void add_up(const float* row, int64_t k, float scale, V& squares, V& pairs) {
  const V s = set1(scale);
  V even = {}, odd = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= k; i += 2 * kLanes) {
    const V v = load(row + i) * s, w = load(row + i + kLanes) * s;
    even = fma(v, v, even);
    odd = fma(w, w, odd);
  }
  for (; i + kLanes <= k; i += kLanes) {
    const V v = load(row + i) * s;
    even = fma(v, v, even);
  }
  if (i < k) {
    const V v = load_n(row + i, static_cast<int>(k - i)) * s;
    odd = fma(v, v, odd);
  }
  squares = even + odd;
  P products[2] = {};
  const auto add = [&](int64_t at, P& to) {
    to += (load_of_part(row + at + kFipPart) * scale) * (load_of_part(row + at + 2 * kFipPart) * scale);
  };
  for (i = 0; i + 2 * kFipGroup <= k; i += 2 * kFipGroup) {
    add(i, products[0]);
    add(i + kFipGroup, products[1]);
  }
  if (i + kFipGroup <= k) {
    add(i, products[0]);
    i += kFipGroup;
  }
  V signs, rest = {};
  HONE_UNROLL
  for (int j = 0; j < kLanes; ++j) signs[j] = j % 2 == 0 ? 1.f : -1.f;
  const int part = static_cast<int>(k - i) / 3;
  const float *const first = row + i + part, *const second = first + part;
  if (part > 0) rest = (load_n(first, part) * s) * (load_n(second, part) * s);
  const auto sum = reinterpret_cast<__m256>(products[0] + products[1]);
  pairs = (V(_mm512_insertf32x8(_mm512_setzero_ps(), sum, 0)) + rest) * signs;
}

// Exponents of powers of two by which rows of such squares get norms between 0.7 and 1.42.
HONE_INLINE VI exponents_for(V squares) { return -(((as_int(squares) >> 23) - set1i(126)) >> 1); }
HONE_INLINE V powers_of_two(VI exponents) { return as_float((exponents + set1i(127)) << 23); }

struct RowTerms {
  float scale, inverse, start;
};

// Of a row whose squares f32 does not hold, or hardly, or which are no numbers.
static __attribute__((noinline)) RowTerms terms_of_extreme(const float* row, int64_t k) {
  float largest = 0;
  for (int64_t i = 0; i < k; ++i) largest = __builtin_fabsf(row[i]) > largest ? __builtin_fabsf(row[i]) : largest;
  if (largest == 0) return {1, 0, 0};  // as it is multiplied by 0, the sums that do not quite cancel count for nothing
  const auto within = [](int exponent) { return exponent < -126 ? -126 : exponent > 126 ? 126 : exponent; };
  const auto power_of_two = [](int exponent) { return powers_of_two(set1i(exponent))[0]; };
  const int first = within(127 - as_int(set1(largest))[0] / (1 << 23));
  V squares[kLanes] = {}, pairs[kLanes] = {};
  add_up(row, k, power_of_two(first), squares[0], pairs[0]);
  const int exponent = within(first + exponents_for(sums_of(squares))[0]);
  const float rest = power_of_two(exponent - first);
  return {power_of_two(exponent), power_of_two(-exponent), -sums_of(pairs)[0] * rest * rest};
}

// Up to a vector's lanes of rows.
static void prepare_some(const FipRows& job, int64_t row0, int count) {
  const float* const* const rows = job.rows + row0;
  V squares[kLanes], pairs[kLanes];
  for (int i = 0; i < count; ++i) add_up(rows[i] + job.a_offset, job.k, 1.f, squares[i], pairs[i]);
  for (int i = count; i < kLanes; ++i) squares[i] = pairs[i] = V{};
  const V norms = sums_of(squares);
  const VI exponents = exponents_for(norms);
  const V scales = powers_of_two(exponents), inverses = powers_of_two(-exponents);
  const V starts = -sums_of(pairs) * scales * scales;
  float* to = job.to + row0 * job.apart;
  for (int i = 0; i < count; ++i, to += job.apart) {
    const float* const row = rows[i] + job.a_offset;
    RowTerms terms{scales[i], inverses[i], starts[i]};
    if (!(norms[i] > 0x1p-100f && norms[i] < 0x1p100f)) terms = terms_of_extreme(row, job.k);
    to[0] = terms.inverse;
    to[1] = terms.start;
    const V scale = set1(terms.scale);
    int64_t j = 0;
    for (; j + kLanes <= job.k; j += kLanes) store(to + kFipHead + j, load(row + j) * scale);
    if (j < job.k) {
      const int n = static_cast<int>(job.k - j);
      store_n(to + kFipHead + j, load_n(row + j, n) * scale, n);
    }
  }
}

// As many rows at a time as stay in the first-level cache until they are scaled.
void prepare_rows(const FipRows& job) {
  constexpr int64_t kFloats = 4096;
  const int64_t fit = kFloats / job.k, most = fit > kLanes ? kLanes : fit < 1 ? 1 : fit;
  for (int64_t i = 0; i < job.m; i += most) prepare_some(job, i, static_cast<int>(job.m - i < most ? job.m - i : most));
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
                          int64_t ahead) {
  const float* next = b + ahead;
  asm("" : "+r"(next));  // one register, not an offset for each line
  HONE_UNROLL
  for (int i = 0; i < 3 * COLS; ++i) __builtin_prefetch(next + i * kLanes, 0, 2);
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
    const int64_t apart = job.rows_apart, ahead = fip_panel_floats(job.depth, kFipPanel);  // the next panel
    for (; row < end; row += ROWS) {
      const float *const first = job.rows[0] + row * apart, *a = first + kFipHead, *b = job.b + kFipPanel;
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
      for (int64_t i = 0; i < part; ++i, ++a, b += 3 * kFipPanel)
        i % 2 == 0 ? fip_step<false>(c, a, apart, part, b, ahead) : fip_step<true>(c, a, apart, part, b, ahead);
      a += 2 * part;
      for (k -= 3 * part; k > 0; --k, ++a, b += kFipPanel) plain_step(c, a, apart, b);
      HONE_UNROLL
      for (int j = 0; j < COLS; ++j) {
        const V scale = load(job.b + j * kLanes);
        HONE_UNROLL
        for (int i = 0; i < ROWS; ++i) c[i][j] = c[i][j] * scale * set1(first[i * apart]);
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
