// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The 2-D core of a transpose, compiled once per tier.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose/tile.h"

namespace hone::cpu::HONE_TIER_NS {

template <class T>
HONE_INLINE void transpose_edge(const TransposeTile& t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  for (int64_t c = c0; c < c1; ++c) {
    T* y = reinterpret_cast<T*>(t.y + c * t.y_col);
    for (int64_t r = r0; r < r1; ++r) y[r] = reinterpret_cast<const T*>(t.x + r * t.x_row)[c];
  }
}

#if defined(__AVX2__)
HONE_INLINE void transpose8x8(const char* x, int64_t x_row, char* y, int64_t y_col) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(x + i * x_row));
  for (int i = 0; i < 4; ++i) {
    b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    a[4 * i] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0x44);
    a[4 * i + 1] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0xee);
    a[4 * i + 2] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0x44);
    a[4 * i + 3] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(reinterpret_cast<float*>(y + i * y_col), _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(reinterpret_cast<float*>(y + (i + 4) * y_col), _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

// 8 pixels of 3 planes become 24 interleaved values, the NCHW to NHWC edge of an image.
HONE_INLINE void interleave3(const char* x, int64_t x_row, float* y) {
  const float* p = reinterpret_cast<const float*>(x);
  const float* q = reinterpret_cast<const float*>(x + x_row);
  const float* s = reinterpret_cast<const float*>(x + 2 * x_row);
  for (int i = 0; i < 8; ++i) {
    y[3 * i] = p[i];
    y[3 * i + 1] = q[i];
    y[3 * i + 2] = s[i];
  }
}

#if defined(__AVX512F__)
// Which lane of the first two planes, then of those and the third, goes to each of 48 interleaved values.
struct InterleaveLanes {
  alignas(64) int32_t two[48], three[48];
  constexpr InterleaveLanes() : two(), three() {
    for (int i = 0; i < 48; ++i) {
      two[i] = i / 3 + (i % 3 == 1 ? 16 : 0);
      three[i] = i % 3 == 2 ? 16 + i / 3 : i % 16;
    }
  }
};

// 16 pixels at once.
HONE_INLINE void interleave3_wide(const char* x, int64_t x_row, float* y) {
  static constexpr InterleaveLanes kLanesOf;
  const __m512 p = _mm512_loadu_ps(x), q = _mm512_loadu_ps(x + x_row), s = _mm512_loadu_ps(x + 2 * x_row);
  HONE_UNROLL
  for (int i = 0; i < 48; i += 16) {
    const __m512 two = _mm512_permutex2var_ps(p, _mm512_load_si512(kLanesOf.two + i), q);
    _mm512_storeu_ps(y + i, _mm512_permutex2var_ps(two, _mm512_load_si512(kLanesOf.three + i), s));
  }
}
#endif

// Which byte of a plane's 16 goes to each of 48 interleaved ones; those of other planes give 0.
struct InterleaveBytes {
  alignas(16) uint8_t from[3][48];
  constexpr InterleaveBytes() : from() {
    for (int plane = 0; plane < 3; ++plane)
      for (int i = 0; i < 48; ++i) from[plane][i] = static_cast<uint8_t>(i % 3 == plane ? i / 3 : 0x80);
  }
};

// The same of 16 pixels of bytes.
HONE_INLINE void interleave3(const char* x, int64_t x_row, char* y) {
  static constexpr InterleaveBytes kBytes;
  for (int i = 0; i < 48; i += 16) {
    __m128i all = _mm_setzero_si128();
    for (int plane = 0; plane < 3; ++plane) {
      const auto pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + plane * x_row));
      const auto from = _mm_load_si128(reinterpret_cast<const __m128i*>(kBytes.from[plane] + i));
      all = _mm_or_si128(all, _mm_shuffle_epi8(pixels, from));
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), all);
  }
}
#endif

template <class T>
void transpose_tile(const TransposeTile& t) {
#if defined(__AVX2__)
  if (sizeof(T) == 1 && t.rows == 3 && t.y_col == 3) {
    int64_t c = 0;
    for (; c + 16 <= t.cols; c += 16) interleave3(t.x + c, t.x_row, t.y + 3 * c);
    return transpose_edge<T>(t, 0, 3, c, t.cols);
  }
#endif
  // Few rows: walk along them and write whole short columns.
  if (t.rows <= 4) {
    for (int64_t r = 0; r < t.rows; ++r) {
      const T* x = reinterpret_cast<const T*>(t.x + r * t.x_row);
      char* y = t.y + r * static_cast<int64_t>(sizeof(T));
      for (int64_t c = 0; c < t.cols; ++c) *reinterpret_cast<T*>(y + c * t.y_col) = x[c];
    }
    return;
  }
  if (t.cols <= 4) return transpose_edge<T>(t, 0, t.rows, 0, t.cols);
  constexpr int64_t kBlock = 64 / sizeof(T) < 16 ? 16 : 64 / sizeof(T);
  for (int64_t r = 0; r < t.rows; r += kBlock) {
    const int64_t r1 = r + kBlock < t.rows ? r + kBlock : t.rows;
    for (int64_t c = 0; c < t.cols; c += kBlock) {
      const int64_t c1 = c + kBlock < t.cols ? c + kBlock : t.cols;
      transpose_edge<T>(t, r, r1, c, c1);
    }
  }
}

#if defined(__AVX2__)
template <>
void transpose_tile<uint32_t>(const TransposeTile& t) {
  if (t.rows == 3 && t.y_col == 12) {
    int64_t c = 0;
#if defined(__AVX512F__)
    for (; c + 16 <= t.cols; c += 16) interleave3_wide(t.x + c * 4, t.x_row, reinterpret_cast<float*>(t.y + c * 12));
#endif
    for (; c + 8 <= t.cols; c += 8) interleave3(t.x + c * 4, t.x_row, reinterpret_cast<float*>(t.y + c * 12));
    return transpose_edge<uint32_t>(t, 0, 3, c, t.cols);
  }
  const int64_t rows = t.rows / 8 * 8, cols = t.cols / 8 * 8;
  // Columns in groups whose 64 destination rows stay in L1.
  for (int64_t c0 = 0; c0 < cols; c0 += 64) {
    const int64_t c1 = c0 + 64 < cols ? c0 + 64 : cols;
    for (int64_t r = 0; r < rows; r += 8)
      for (int64_t c = c0; c < c1; c += 8)
        transpose8x8(t.x + r * t.x_row + c * 4, t.x_row, t.y + c * t.y_col + r * 4, t.y_col);
  }
  transpose_edge<uint32_t>(t, rows, t.rows, 0, cols);
  transpose_edge<uint32_t>(t, 0, t.rows, cols, t.cols);
}
#endif

extern const TransposeTiles kTransposeTiles;
const TransposeTiles kTransposeTiles{transpose_tile<uint8_t>, transpose_tile<uint16_t>, transpose_tile<uint32_t>,
                                     transpose_tile<uint64_t>};

}  // namespace hone::cpu::HONE_TIER_NS
