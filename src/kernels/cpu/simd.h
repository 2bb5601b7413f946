// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The vector type of the tier that the including file is compiled for. Include it only in kernel
// sources built once per tier: everything lives in a namespace of the tier's name, so that code
// compiled for one instruction set never gets linked into another.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "base/dtype.h"

#if defined(__AMX_TILE__) || defined(__AMXTILE__)  // GCC, clang
#define HONE_TIER_NS amx
#elif defined(__AVX512BF16__)
#define HONE_TIER_NS avx512_bf16
#elif defined(__AVX512F__)
#define HONE_TIER_NS avx512
#elif defined(__AVX2__)
#define HONE_TIER_NS avx2
#else
#define HONE_TIER_NS scalar
#endif

#define HONE_INLINE inline __attribute__((always_inline))
// For loops over registers: left rolled, they would keep the accumulators in memory.
#ifndef HONE_UNROLL
#define HONE_UNROLL _Pragma("GCC unroll 32")
#endif

namespace hone::cpu::HONE_TIER_NS {

// Arithmetic operators, comparisons and ?: come from the compiler's vector extension.
#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif
typedef float V __attribute__((vector_size(kLanes * 4)));
typedef int32_t VI __attribute__((vector_size(kLanes * 4)));
typedef uint32_t VU __attribute__((vector_size(kLanes * 4)));
typedef float VUnaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

HONE_INLINE V set1(float x) { return x - V{}; }
HONE_INLINE VI set1i(int32_t x) { return x - VI{}; }
HONE_INLINE V zero() { return V{}; }
HONE_INLINE V load(const float* p) { return *reinterpret_cast<const VUnaligned*>(p); }
HONE_INLINE void store(float* p, V v) { *reinterpret_cast<VUnaligned*>(p) = v; }
HONE_INLINE V as_float(VI v) { return reinterpret_cast<V>(v); }
HONE_INLINE VI as_int(V v) { return reinterpret_cast<VI>(v); }

#if defined(__AVX512F__)
// The maskz forms below avoid a false "uninitialised" warning of GCC 12; they compile to the plain ones.
HONE_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
HONE_INLINE V fnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
// a * b + c of the lower lanes in half the time of all; the others become 0. The compiler would load `a` apart.
constexpr bool kHalves = true;
HONE_INLINE V fma_low(const float& a, V b, V c) {
  asm("vfmadd231ps %2%{1to8%}, %t1, %t0" : "+v"(c) : "v"(b), "m"(a));
  return c;
}
HONE_INLINE V max(V a, V b) { return _mm512_maskz_max_ps(0xffff, a, b); }
HONE_INLINE V min(V a, V b) { return _mm512_maskz_min_ps(0xffff, a, b); }
HONE_INLINE V round(V a) { return _mm512_maskz_roundscale_ps(0xffff, a, _MM_FROUND_TO_NEAREST_INT); }
HONE_INLINE VI to_int(V a) { return (VI)_mm512_maskz_cvtps_epi32(0xffff, a); }
// The first n lanes only, 0 < n <= kLanes: the rest reads as zero and is not written.
HONE_INLINE V load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p); }
HONE_INLINE void store_n(float* p, V v, int n) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v); }
#elif defined(__AVX2__)
HONE_INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
HONE_INLINE V fnma(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
constexpr bool kHalves = false;
HONE_INLINE V fma_low(const float& a, V b, V c) { return fma(set1(a), b, c); }
HONE_INLINE V max(V a, V b) { return _mm256_max_ps(a, b); }
HONE_INLINE V min(V a, V b) { return _mm256_min_ps(a, b); }
HONE_INLINE V round(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
HONE_INLINE VI to_int(V a) { return (VI)_mm256_cvtps_epi32(a); }
HONE_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HONE_INLINE V load_n(const float* p, int n) { return _mm256_maskload_ps(p, first_lanes(n)); }
HONE_INLINE void store_n(float* p, V v, int n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
#else
HONE_INLINE V fma(V a, V b, V c) { return a * b + c; }
HONE_INLINE V fnma(V a, V b, V c) { return c - a * b; }
constexpr bool kHalves = false;
HONE_INLINE V fma_low(const float& a, V b, V c) { return fma(set1(a), b, c); }
HONE_INLINE V max(V a, V b) { return a > b ? a : b; }
HONE_INLINE V min(V a, V b) { return a < b ? a : b; }
// Adding 1.5 * 2^23 leaves no fraction bits: right for |a| < 2^22, all that the kernels ask for.
HONE_INLINE V round(V a) { return (a + set1(12582912.f)) - set1(12582912.f); }
HONE_INLINE VI to_int(V a) { return __builtin_convertvector(round(a), VI); }
HONE_INLINE V load_n(const float* p, int n) {
  V v = zero();
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
HONE_INLINE void store_n(float* p, V v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
#endif

// The same of bf16 in memory, rounded to nearest even; denormals may become 0.
#if defined(__AVX512BF16__)
using Stored = bf16;  // what the tensors of kernels that are compiled for each tier hold
HONE_INLINE V widen(__m256i bits) { return as_float((VI)_mm512_maskz_cvtepu16_epi32(0xffff, bits) << 16); }
HONE_INLINE __mmask16 lanes_mask(int n) { return static_cast<__mmask16>((1u << n) - 1); }
HONE_INLINE V load(const bf16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
HONE_INLINE V load_n(const bf16* p, int n) { return widen(_mm256_maskz_loadu_epi16(lanes_mask(n), p)); }
HONE_INLINE void store(bf16* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
}
HONE_INLINE void store_n(bf16* p, V v, int n) {
  _mm256_mask_storeu_epi16(p, lanes_mask(n), (__m256i)_mm512_cvtneps_pbh(v));
}
#else
using Stored = float;
HONE_INLINE V load_n(const bf16* p, int n) {
  V v = zero();
  for (int i = 0; i < n; ++i) v[i] = to_float(p[i]);
  return v;
}
HONE_INLINE void store_n(bf16* p, V v, int n) {
  for (int i = 0; i < n; ++i) p[i] = to_bf16(v[i]);
}
HONE_INLINE V load(const bf16* p) { return load_n(p, kLanes); }
HONE_INLINE void store(bf16* p, V v) { store_n(p, v, kLanes); }
#endif

HONE_INLINE float in_f32(float v) { return v; }
HONE_INLINE float in_f32(bf16 v) { return to_float(v); }

// Loads and stores of a vector of which only the first n lanes exist.
template <class T>
HONE_INLINE V load_part(const T* p, int n) {
  return n >= kLanes ? load(p) : load_n(p, n);
}
template <class T>
HONE_INLINE void store_part(T* p, V v, int n) {
  n >= kLanes ? store(p, v) : store_n(p, v, n);
}

// The sum of all lanes, in double.
HONE_INLINE double sum_lanes(V v) {
  typedef float Half __attribute__((vector_size(kLanes * 2)));
  typedef double Sums __attribute__((vector_size(kLanes * 4)));
  struct Halves {
    Half low, high;
  };
  const auto halves = __builtin_bit_cast(Halves, v);
  Sums sums = __builtin_convertvector(halves.low, Sums) + __builtin_convertvector(halves.high, Sums);
  HONE_UNROLL
  for (int n = kLanes / 4; n > 0; n /= 2) HONE_UNROLL
  for (int i = 0; i < n; ++i) sums[i] += sums[i + n];
  return sums[0];
}

HONE_INLINE V abs(V a) { return as_float(as_int(a) & set1i(0x7fffffff)); }
HONE_INLINE V copy_sign(V magnitude, V sign) {
  return as_float((as_int(magnitude) & set1i(0x7fffffff)) | (as_int(sign) & set1i(INT32_MIN)));
}

// e^x within 2 ulp for results in the normal range; below it the smallest normal, above it 2^127 * 1.99.
HONE_INLINE V exp(V x) {
  x = min(max(x, set1(-87.33654f)), set1(88.72283f));
  V n = round(x * set1(1.44269504f));
  n = min(n, set1(127.f));
  // ln 2 in two parts: the first has so few bits that n * it is exact.
  V r = fnma(n, set1(0.693359375f), x);
  r = fnma(n, set1(-2.12194440e-4f), r);
  V p = set1(1.f / 5040);
  p = fma(p, r, set1(1.f / 720));
  p = fma(p, r, set1(1.f / 120));
  p = fma(p, r, set1(1.f / 24));
  p = fma(p, r, set1(1.f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p * r, r, r) + set1(1.f);
  return p * as_float((to_int(n) + set1i(127)) << 23);
}

HONE_INLINE V sigmoid(V x) { return set1(1.f) / (set1(1.f) + exp(-x)); }

// Near zero the quotient form cancels, so an odd Taylor polynomial takes over.
HONE_INLINE V tanh(V x) {
  const V a = abs(x), s = x * x;
  V p = set1(-1382.f / 155925);
  p = fma(p, s, set1(62.f / 2835));
  p = fma(p, s, set1(-17.f / 315));
  p = fma(p, s, set1(2.f / 15));
  p = fma(p, s, set1(-1.f / 3));
  const V small = fma(p * s, x, x);
  const V large = set1(1.f) - set1(2.f) / (exp(a + a) + set1(1.f));
  return a < set1(0.35f) ? small : copy_sign(large, x);
}

// x * Phi(x) with Abramowitz and Stegun 7.1.26 for erfc: absolute error below 1e-7 * |x|.
HONE_INLINE V gelu_erf(V x) {
  const V z = abs(x) * set1(0.70710678f);
  const V t = set1(1.f) / fma(z, set1(0.3275911f), set1(1.f));
  V p = set1(1.061405429f);
  p = fma(p, t, set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = fma(p, t, set1(0.254829592f));
  const V half_erfc = set1(0.5f) * p * t * exp(-(z * z));
  return x * (x < zero() ? half_erfc : set1(1.f) - half_erfc);
}

}  // namespace hone::cpu::HONE_TIER_NS
