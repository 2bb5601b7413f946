// Plain epilogues of sums that are in registers: the arithmetic of finish_impl.inc, and so the same results.
#pragma once

#include <cmath>

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

constexpr int kMostColumns = 64;

// Four vectors of i32 to bytes, a quarter of each in turn: [lane of 128 bits][vector][4].
HONE_INLINE __m512i pack_quarters(__m512i a, __m512i b, __m512i c, __m512i d) {
  return _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
}

HONE_INLINE __mmask16 lanes_below(int n) {
  return static_cast<__mmask16>(n >= kLanes ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

// The first n bytes of as many as COLS vectors of sums give.
template <int COLS>
HONE_INLINE void store_bytes(int8_t* to, __m512i v, int n) {
  if (COLS != 3 && n == COLS * kLanes) return static_cast<void>(std::memcpy(to, &v, COLS * kLanes));
  if (n % 4 == 0) return _mm512_mask_storeu_epi32(to, lanes_below(n / 4), v);  // faster than bytes
  _mm512_mask_storeu_epi8(to, (1ull << n) - 1, v);
}

// What the columns of a panel share, with room for whole vectors.
struct PlainColumns {
  alignas(64) float scale[kMostColumns], bias[kMostColumns], step[kMostColumns];
  float residual_scale = 1;
  bool stepped = false;
  int8_t low = -128, high = 127;
  int columns = 0;
  int8_t* out = nullptr;
  const int8_t* residual = nullptr;  // null: none
  int64_t ld = 0;

  PlainColumns() = default;
  explicit PlainColumns(const Int8Finish& job) {
    const Int8Epilogue& e = *job.epilogue;
    columns = static_cast<int>(job.columns);
    HONE_UNROLL
    for (int c = 0; c < kMostColumns; c += kLanes) {
      const __mmask16 lanes = lanes_below(columns - c);
      const auto values = [&](const float* of, float otherwise) -> V {
        return of == nullptr ? set1(otherwise) : (V)_mm512_maskz_loadu_ps(lanes, of + job.channel + c);
      };
      store(scale + c, values(e.scale, 1));
      store(bias + c, values(e.real.bias, 0));
      store(step + c, values(e.step, 1));
    }
    residual_scale = e.residual_scale;
    stepped = e.step != nullptr;
    low = static_cast<int8_t>(e.low);
    high = static_cast<int8_t>(e.high);
    out = static_cast<int8_t*>(job.out) + job.at;
    residual = e.residual == nullptr ? nullptr : e.residual + job.at;
    ld = job.ld;
  }

  // Whether all results of sums up to `most` are numbers that i32 holds, and so are right when they are packed.
  bool bounded(float most) const {
    const V residuals = set1(128.f * std::fabs(residual_scale));
    VI inside = set1i(-1);
    HONE_UNROLL
    for (int c = 0; c < kMostColumns; c += kLanes) {
      const V largest = abs(load(scale + c)) * set1(most) + abs(load(bias + c));
      inside &= (largest < set1(2e9f)) & ((largest + residuals) * abs(load(step + c)) < set1(2e9f));
    }
    return _mm512_movepi32_mask((__m512i)inside) == 0xffff;
  }
};

// What is added to sums times scales and biases.
enum class PlainResidual { none, whole, stepped };

template <PlainResidual kResidual, int COLS>
class PlainRows {
 public:
  HONE_INLINE explicit PlainRows(const PlainColumns& columns)
      : columns_(columns),
        n_(columns.columns),
        ld_(columns.ld),
        out_(columns.out),
        low_(_mm512_set1_epi8(columns.low)),
        high_(_mm512_set1_epi8(columns.high)) {}

  HONE_INLINE void store(const VI (&sums)[COLS], int64_t row) const {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i whole[COLS];
    HONE_UNROLL
    for (int j = 0; j < COLS; ++j) {
      const int at = j * kLanes;
      V v = to_float(sums[j]) * load(columns_.scale + at) + load(columns_.bias + at);
      if constexpr (kResidual != PlainResidual::none)
        v += residual(columns_.residual + row * ld_ + at, n_ - at) * set1(columns_.residual_scale);
      if constexpr (kResidual == PlainResidual::stepped) v *= load(columns_.step + at);
      whole[j] = (__m512i)to_int(v);
    }
    __m512i bytes = pack_quarters(whole[0], whole[1 % COLS], whole[2 % COLS], whole[3 % COLS]);
    bytes = _mm512_min_epi8(_mm512_max_epi8(bytes, low_), high_);
    store_bytes<COLS>(out_ + row * ld_, _mm512_maskz_permutexvar_epi32(0xffff, order, bytes), n_);
  }

 private:
  // So many of a vector of bytes.
  HONE_INLINE static V residual(const int8_t* from, int left) {
    const __m128i part = left < kLanes ? _mm_maskz_loadu_epi8(lanes_below(left), from)
                                       : _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return to_float((VI)_mm512_maskz_cvtepi8_epi32(0xffff, part));
  }

  const PlainColumns& columns_;
  // Copies: a store of bytes could change what it is given.
  const int n_;
  const int64_t ld_;
  int8_t* const out_;
  const __m512i low_, high_;
};

template <PlainResidual kResidual>
struct PlainOut {
  const PlainColumns& columns;

  // Of rows from `row` on.
  template <int ROWS, int COLS>
  HONE_INLINE void store(const VI (&sums)[ROWS][COLS], int64_t row) const {
    const PlainRows<kResidual, COLS> rows(columns);
    HONE_UNROLL
    for (int i = 0; i < ROWS; ++i) rows.store(sums[i], row + i);
  }
};

}  // namespace hone::cpu::HONE_TIER_NS
