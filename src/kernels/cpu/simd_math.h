// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 functions on the vectors of simd.h, right over the whole range: infinities, NaN, zeros and
// denormals come out as from the C library. Errors are given in ulp of the result; builds without
// FMA (the scalar tier) may add one more.
#pragma once

#include <cmath>

#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS::math {

HONE_INLINE V infinity() { return set1(__builtin_inff()); }
HONE_INLINE V quiet_nan() { return set1(__builtin_nanf("")); }
HONE_INLINE VI is_nan(V x) { return x != x; }

// NaN wins, whichever operand it is in.
HONE_INLINE V maximum(V a, V b) { return is_nan(a) ? a : max(a, b); }
HONE_INLINE V minimum(V a, V b) { return is_nan(a) ? a : min(a, b); }
// For a bound that is not NaN.
HONE_INLINE V at_least(V x, V bound) { return max(bound, x); }
HONE_INLINE V at_most(V x, V bound) { return min(bound, x); }

HONE_INLINE V sqrt(V x) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, x);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

HONE_INLINE V trunc(V x) {
#if defined(__AVX512F__)
  return _mm512_maskz_roundscale_ps(0xffff, x, _MM_FROUND_TO_ZERO);
#elif defined(__AVX2__)
  return _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#else
  const V t = __builtin_convertvector(__builtin_convertvector(x, VI), V);
  return abs(x) < set1(8388608.f) ? copy_sign(t, x) : x;
#endif
}
HONE_INLINE V floor(V x) {
#if defined(__AVX512F__)
  return _mm512_maskz_roundscale_ps(0xffff, x, _MM_FROUND_TO_NEG_INF);
#elif defined(__AVX2__)
  return _mm256_floor_ps(x);
#else
  const V t = trunc(x);
  return t > x ? t - set1(1.f) : t;
#endif
}
HONE_INLINE V ceil(V x) {
#if defined(__AVX512F__)
  return _mm512_maskz_roundscale_ps(0xffff, x, _MM_FROUND_TO_POS_INF);
#elif defined(__AVX2__)
  return _mm256_ceil_ps(x);
#else
  const V t = trunc(x);
  return t < x ? copy_sign(t + set1(1.f), x) : t;
#endif
}
// Half to even.
HONE_INLINE V rint(V x) {
#if defined(__AVX2__)
  return round(x);
#else
  const V big = set1(8388608.f), a = abs(x);
  return a < big ? copy_sign((a + big) - big, x) : x;
#endif
}

// 2^n for -126 <= n <= 127.
HONE_INLINE V power_of_two(VI n) { return as_float((n + set1i(127)) << 23); }

// p * 2^n for whole n, also where 2^n or the result is denormal or the largest.
HONE_INLINE V scale(V p, V n) {
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(0xffff, p, n);
#else
  const VI whole = to_int(n), half = whole >> 1;
  return p * power_of_two(half) * power_of_two(whole - half);
#endif
}

// 1 ulp, for -120 <= x <= 89.
HONE_INLINE V exp_within(V x) {
  const V n = round(x * set1(1.44269504f));
  // ln 2 in two parts: the first has so few bits that n * it is exact.
  V r = fnma(n, set1(0.693359375f), x);
  r = fnma(n, set1(-2.12194440e-4f), r);
  V p = set1(1.f / 5040);
  p = fma(p, r, set1(1.f / 720));
  p = fma(p, r, set1(1.f / 120));
  p = fma(p, r, set1(1.f / 24));
  p = fma(p, r, set1(1.f / 6));
  p = fma(p, r, set1(0.5f));
  return scale(fma(p * r, r, r) + set1(1.f), n);
}

// 1 ulp.
HONE_INLINE V exp(V x) { return exp_within(at_most(at_least(x, set1(-104.f)), set1(89.f))); }

// 2 ulp. 2^n (e^r - 1) + (2^n - 1), one binade lower so that n = 128 has a factor.
HONE_INLINE V expm1(V x) {
  const V tiny = x;
  x = at_most(at_least(x, set1(-26.f)), set1(89.f));
  const V n = round(x * set1(1.44269504f));
  V r = fnma(n, set1(0.693359375f), x);
  r = fnma(n, set1(-2.12194440e-4f), r);
  V p = set1(1.f / 40320);
  p = fma(p, r, set1(1.f / 5040));
  p = fma(p, r, set1(1.f / 720));
  p = fma(p, r, set1(1.f / 120));
  p = fma(p, r, set1(1.f / 24));
  p = fma(p, r, set1(1.f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p * r, r, r);
  const V half = power_of_two(to_int(n - set1(1.f)));
  const V y = set1(2.f) * fma(half, p, half - set1(0.5f));
  return abs(tiny) < set1(1e-8f) ? tiny : y;
}

// log(m) for m = 1 + f near 1 by the series of atanh(f / (2 + f)), plus e * ln 2 + extra.
HONE_INLINE V log_parts(V f, V e, V extra) {
  const V s = f / (f + set1(2.f)), s2 = s * s;
  V p = set1(2.f / 9);
  p = fma(p, s2, set1(2.f / 7));
  p = fma(p, s2, set1(2.f / 5));
  p = fma(p, s2, set1(2.f / 3));
  const V half_square = f * f * set1(0.5f);
  const V low = fma(s, fma(p, s2, half_square), fma(e, set1(-2.12194440e-4f), extra));
  return fma(e, set1(0.693359375f), f - (half_square - low));
}

// Splits a positive normal x into f in [sqrt(1/2) - 1, sqrt(2) - 1) and e with x = (1 + f) 2^e. The difference is
// unsigned since it wraps for a negative x, whose parts nobody reads.
HONE_INLINE V split_exponent(V x, V* e) {
  const VI bits = (VI)((VU)as_int(x) - (VU)set1i(0x3f3504f3));
  *e = __builtin_convertvector(bits >> 23, V);
  return as_float((bits & set1i(0x7fffff)) + set1i(0x3f3504f3)) - set1(1.f);
}

HONE_INLINE V log_special(V x, V y) {
  y = x == zero() ? -infinity() : y;
  y = x < zero() ? quiet_nan() : y;
  return x < infinity() ? y : x + x;  // infinity and NaN (not below infinity) pass through
}

// 1 ulp.
HONE_INLINE V log(V x) {
  const VI denormal = x < set1(1.17549435e-38f);
  V e;
  const V f = split_exponent(denormal ? x * set1(8388608.f) : x, &e);
  return log_special(x, log_parts(f, denormal ? e - set1(23.f) : e, zero()));
}

// 2 ulp. What 1 + x loses in rounding is put back to first order.
HONE_INLINE V log1p(V x) {
  const V u = x + set1(1.f);
  const V lost = (x < set1(1.f) ? x - (u - set1(1.f)) : set1(1.f) - (u - x)) / u;
  V e;
  const V f = split_exponent(u, &e);
  const V y = log_special(u, log_parts(f, e, u > zero() && u < infinity() ? lost : zero()));
  return abs(x) < set1(1e-8f) ? x : y;
}

// 2 ulp.
HONE_INLINE V sigmoid(V x) {
  const V e = exp(-abs(x)), d = set1(1.f) / (set1(1.f) + e);
  return x < zero() ? e * d : d;
}

// 2 ulp.
HONE_INLINE V tanh(V x) {
  const V e = expm1(set1(-2.f) * abs(x));
  return copy_sign(-e / (e + set1(2.f)), x);
}

// 2 ulp of max(x, 0) + log(1 + e^-|x|).
HONE_INLINE V softplus(V x) { return at_least(x, zero()) + log1p(exp(-abs(x))); }

// e^(z*z) * erfc(z) for t = 1 / (1 + 0.42 z), 0 <= z <= 9.6: minimax fit, relative error 4e-8 before rounding.
HONE_INLINE V scaled_erfc(V t) {
  V p = set1(7.838902706e-02f);
  p = fma(p, t, set1(-3.569491863e-01f));
  p = fma(p, t, set1(5.103254131e-01f));
  p = fma(p, t, set1(-2.032022096e-01f));
  p = fma(p, t, set1(3.142070359e-01f));
  p = fma(p, t, set1(1.773056592e-01f));
  p = fma(p, t, set1(2.435715958e-01f));
  p = fma(p, t, set1(2.363267654e-01f));
  return fma(p, t, set1(2.593980931e-05f));
}

// factor * e^(-scale * a * a), 0 <= a <= 15. The square's own rounding error, which would be tens of ulp of the result,
// is made good.
HONE_INLINE V exp_of_square(V a, float scale, float factor) {
  const V square = a * a;
#if defined(__FMA__)
  const V excess = fnma(a, a, square);
#else
  const V high = as_float((as_int(a) + set1i(0x800)) & set1i(static_cast<int32_t>(0xfffff000)));
  const V excess = (square - high * high) - (a - high) * (a + high);
#endif
  return exp_within(square * set1(-scale)) * fma(excess, set1(scale * factor), set1(factor));
}

// 2 ulp.
HONE_INLINE V erf(V x) {
  const V a = at_most(abs(x), set1(9.5f)), s = a * a;
  V p = set1(7.853688294e-05f);
  p = fma(p, s, set1(-8.010147139e-04f));
  p = fma(p, s, set1(5.188323092e-03f));
  p = fma(p, s, set1(-2.685380913e-02f));
  p = fma(p, s, set1(1.128358543e-01f));
  p = fma(p, s, set1(-3.761262596e-01f));
  p = fma(p, s, set1(1.28379107e-01f));
  const V small = fma(p, a, a);
  const V t = set1(1.f) / fma(a, set1(0.42f), set1(1.f));
  const V large = set1(1.f) - exp_of_square(a, 1.f, 1.f) * scaled_erfc(t);
  return copy_sign(a < set1(0.9f) ? small : large, x);
}

// x * Phi(x), 7 ulp, in the lower tail too (down to results of 1e-37).
HONE_INLINE V gelu_erf(V x) {
  const V a = at_most(abs(x), set1(15.f));  // where the tail is 0
  const V t = set1(1.f) / fma(a, set1(0.296984848f), set1(1.f));
  const V tail = exp_of_square(a, 0.5f, 0.5f) * scaled_erfc(t);
  return x * (x < zero() ? tail : set1(1.f) - tail);
}

HONE_INLINE V gelu_tanh(V x) {
  // x / 2 * (1 + tanh(u)) is x * sigmoid(2 u), which keeps the lower tail's digits.
  const V u = fma(x * x * x, set1(0.044715f), x);
  return x * sigmoid(u * set1(1.5957691216f));
}

// tanh(log(1 + e^x)) is s / (s + 2) for s = e^x (e^x + 2).
HONE_INLINE V mish(V x) {
  const V e = exp(at_most(x, set1(20.f))), s = e * (e + set1(2.f));
  return x * (s / (s + set1(2.f)));
}

// Quarter turns n and the rest r = x - n * pi / 2, |r| <= pi / 4, for |x| < 8192.
HONE_INLINE V reduce_angle(V x, VI* quadrant) {
  const V n = round(x * set1(0.636619772f));
  *quadrant = to_int(n);
  V r = fnma(n, set1(1.5703125f), x);
  r = fnma(n, set1(4.837512969970703e-4f), r);
  r = fnma(n, set1(7.549533620476723e-8f), r);
  return fnma(n, set1(2.5633440682570896e-12f), r);
}

// Both from one reduction; 2 ulp for |x| < 8192, but near multiples of pi / 2 at least 1e-9 absolute.
HONE_INLINE void sin_cos_core(V x, V* sine, V* cosine) {
  VI q;
  const V r = reduce_angle(x, &q), s = r * r;
  V p = set1(1.f / 362880);
  p = fma(p, s, set1(-1.f / 5040));
  p = fma(p, s, set1(1.f / 120));
  p = fma(p, s, set1(-1.f / 6));
  const V a = fma(p * s, r, r);
  V c = set1(-1.f / 3628800);
  c = fma(c, s, set1(1.f / 40320));
  c = fma(c, s, set1(-1.f / 720));
  c = fma(c, s, set1(1.f / 24));
  c = fma(c, s, set1(-0.5f));
  const V b = fma(c, s, set1(1.f));
  const VI swap = (q & set1i(1)) != set1i(0);
  const V sv = swap ? b : a, cv = swap ? a : b;
  *sine = as_float(as_int(sv) ^ ((q & set1i(2)) << 30));
  *cosine = as_float(as_int(cv) ^ (((q + set1i(1)) & set1i(2)) << 30));
}

HONE_INLINE bool any(VI mask) {
  int32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= mask[i];
  return bits != 0;
}

// Applies a C library function to each lane: for functions too rare to vectorise.
template <class F>
HONE_INLINE V per_lane(F f, V a) {
  V r{};
  for (int i = 0; i < kLanes; ++i) r[i] = f(a[i]);
  return r;
}
template <class F>
HONE_INLINE V per_lane(F f, V a, V b) {
  V r{};
  for (int i = 0; i < kLanes; ++i) r[i] = f(a[i], b[i]);
  return r;
}

HONE_INLINE V sin(V x) {
  if (any(~(abs(x) < set1(8192.f)))) return per_lane([](float v) { return ::sinf(v); }, x);
  V s, c;
  sin_cos_core(x, &s, &c);
  return x == zero() ? x : s;
}
HONE_INLINE V cos(V x) {
  if (any(~(abs(x) < set1(8192.f)))) return per_lane([](float v) { return ::cosf(v); }, x);
  V s, c;
  sin_cos_core(x, &s, &c);
  return c;
}

}  // namespace hone::cpu::HONE_TIER_NS::math
