// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The panel's work (see kernel.h), compiled once per tier.
#pragma once

#include "kernels/cpu/gemm/activation.inc"
#include "kernels/cpu/nbits/kernel.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int kPanel = 2 * kLanes;
constexpr int kTileRows = 4;

typedef int32_t VIUnaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
HONE_INLINE VI load_words(const uint32_t* p) { return *reinterpret_cast<const VIUnaligned*>(p); }

#if defined(__AVX512F__)
// The value of each code of 4 bits.
HONE_INLINE V nibble_values() { return V{0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1}; }
#endif

// Code number `at` of each lane's word.
template <int BITS>
HONE_INLINE V decode(VI words, int at) {
#if defined(__AVX512F__)
  // A permutation looks at the lowest 4 bits of an index only.
  if constexpr (BITS == 4) return _mm512_maskz_permutexvar_ps(0xffff, (__m512i)(words >> (4 * at)), nibble_values());
#endif
  return __builtin_convertvector((words << (32 - BITS * (at + 1))) >> (32 - BITS), V);
}

// One block of the panel: where its parts are.
struct Block {
  const float* scales;
  const float* zeros;
  const uint32_t* words;
  int64_t k0, depth;
};

// Calls f for every block in order.
template <class F>
HONE_INLINE void for_each_block(const NBitsProblem& p, const uint32_t* packed, F&& f) {
  const int64_t codes = nbits_codes_per_word(p);
  for (int64_t k0 = 0; k0 < p.k; k0 += p.block) {
    Block b{.k0 = k0, .depth = p.k - k0 < p.block ? p.k - k0 : p.block};
    b.scales = reinterpret_cast<const float*>(packed);
    b.zeros = b.scales + kPanel;
    b.words = packed + (p.centred ? 1 : 2) * kPanel;
    f(b);
    packed = b.words + (b.depth + codes - 1) / codes * kPanel;
  }
}

// The sums of `count` codes from value k of each row on, count at most those of a word.
template <int BITS, bool CENTRED, int ROWS>
HONE_INLINE void add_word(V (&sums)[ROWS][2], const float* const (&a)[ROWS], int64_t k, const uint32_t* words,
                          const V (&zeros)[2], int count) {
  const VI w[2] = {load_words(words), load_words(words + kLanes)};
  HONE_UNROLL
  for (int at = 0; at < 32 / BITS; ++at) {
    if (at >= count) break;
    HONE_UNROLL
    for (int j = 0; j < 2; ++j) {
      V value = decode<BITS>(w[j], at);
      if constexpr (!CENTRED) value -= zeros[j];
      HONE_UNROLL
      for (int i = 0; i < ROWS; ++i) sums[i][j] = fma(set1(a[i][k + at]), value, sums[i][j]);
    }
  }
}

// Short tiles keep two partial sums: one alone would wait for itself.
template <int BITS, bool CENTRED, int ROWS>
HONE_INLINE void add_block(V (&totals)[ROWS][2], const float* const (&a)[ROWS], const Block& b) {
  constexpr int kCodes = 32 / BITS, kWays = ROWS <= 2 ? 2 : 1;
  V sums[kWays][ROWS][2] = {};
  V zeros[2] = {};
  if constexpr (!CENTRED) {
    zeros[0] = load(b.zeros);
    zeros[1] = load(b.zeros + kLanes);
  }
  const uint32_t* words = b.words;
  int64_t k = 0;
  for (; k + kWays * kCodes <= b.depth; k += kWays * kCodes, words += kWays * kPanel) {
    HONE_UNROLL
    for (int way = 0; way < kWays; ++way)
      add_word<BITS, CENTRED>(sums[way], a, b.k0 + k + way * kCodes, words + way * kPanel, zeros, kCodes);
  }
  for (; k < b.depth; k += kCodes, words += kPanel)
    add_word<BITS, CENTRED>(sums[0], a, b.k0 + k, words, zeros,
                            static_cast<int>(b.depth - k < kCodes ? b.depth - k : kCodes));
  const V scales[2] = {load(b.scales), load(b.scales + kLanes)};
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) HONE_UNROLL
  for (int j = 0; j < 2; ++j)
    totals[i][j] = fma(kWays == 2 ? sums[0][i][j] + sums[kWays - 1][i][j] : sums[0][i][j], scales[j], totals[i][j]);
}

template <int BITS, bool CENTRED, int ROWS>
void tile(const NBitsPanel& panel, int64_t row) {
  const NBitsProblem& p = panel.problem;
  const float* a[ROWS];
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) a[i] = panel.a + (row + i) * p.k;
  V totals[ROWS][2] = {};
  for_each_block(p, panel.packed, [&](const Block& b) { add_block<BITS, CENTRED>(totals, a, b); });
  const float* residual = panel.residual == nullptr ? nullptr : panel.residual + row * p.n;
  float* c = panel.c + row * p.n;
  const int columns = static_cast<int>(panel.columns);
  if (columns > kLanes) return finish_and_store(totals, panel.epilogue, panel.bias, residual, c, p.n, columns - kLanes);
  V narrow[ROWS][1];
  HONE_UNROLL
  for (int i = 0; i < ROWS; ++i) narrow[i][0] = totals[i][0];
  finish_and_store(narrow, panel.epilogue, panel.bias, residual, c, p.n, columns);
}

template <int BITS, bool CENTRED>
void multiply(const NBitsPanel& panel) {
  static constexpr void (*kTiles[])(const NBitsPanel&, int64_t) = {tile<BITS, CENTRED, 1>, tile<BITS, CENTRED, 2>,
                                                                   tile<BITS, CENTRED, 3>, tile<BITS, CENTRED, 4>};
  static_assert(sizeof kTiles / sizeof kTiles[0] == kTileRows);
  for (int64_t row = 0; row < panel.problem.m; row += kTileRows) {
    const int64_t left = panel.problem.m - row;
    kTiles[(left < kTileRows ? left : kTileRows) - 1](panel, row);
  }
}

template <int BITS>
void unpack(const NBitsProblem& p, const uint32_t* packed, float* to) {
  constexpr int kCodes = 32 / BITS;
  for_each_block(p, packed, [&](const Block& b) {
    const V scales[2] = {load(b.scales), load(b.scales + kLanes)};
    V zeros[2] = {};
    if (!p.centred) {
      zeros[0] = load(b.zeros);
      zeros[1] = load(b.zeros + kLanes);
    }
    const uint32_t* words = b.words;
    for (int64_t k = 0; k < b.depth; k += kCodes, words += kPanel) {
      const VI w[2] = {load_words(words), load_words(words + kLanes)};
      const int64_t count = b.depth - k < kCodes ? b.depth - k : kCodes;
      HONE_UNROLL
      for (int at = 0; at < kCodes; ++at) {
        if (at >= count) break;
        HONE_UNROLL
        for (int j = 0; j < 2; ++j)
          store(to + (b.k0 + k + at) * kPanel + j * kLanes, (decode<BITS>(w[j], at) - zeros[j]) * scales[j]);
      }
    }
  });
}

static void multiply_any(const NBitsPanel& panel) {
  const bool centred = panel.problem.centred;
  if (panel.problem.bits == 4) return (centred ? multiply<4, true> : multiply<4, false>)(panel);
  (centred ? multiply<8, true> : multiply<8, false>)(panel);
}

static void unpack_any(const NBitsProblem& p, const uint32_t* packed, float* to) {
  (p.bits == 4 ? unpack<4> : unpack<8>)(p, packed, to);
}

extern const NBitsKernel kNBitsKernel;
const NBitsKernel kNBitsKernel{multiply_any, unpack_any};

}  // namespace hone::cpu::HONE_TIER_NS
