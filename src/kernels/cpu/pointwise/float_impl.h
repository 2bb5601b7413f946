// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Block operations on fp32, of values that lie in memory as `Stored`. Included by sources built once per tier.
#pragma once

#include "kernels/cpu/pointwise/block.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

typedef uint8_t Bytes __attribute__((vector_size(kLanes), aligned(1), may_alias));

// An operand, value by value or one for the whole block.
template <bool kScalar>
struct Real {
  const Stored* p;
  V splat;
  HONE_INLINE explicit Real(const void* data)
      : p(static_cast<const Stored*>(data)), splat(kScalar ? set1(in_f32(*p)) : zero()) {}
  HONE_INLINE V get(int64_t i) const { return kScalar ? splat : load(p + i); }
  HONE_INLINE V get_n(int64_t i, int n) const { return kScalar ? splat : load_n(p + i, n); }
};

template <class F, bool kA, bool kB, bool kC>
void float_block(const BlockArgs& args) {
  const Real<kA> a(args.in[0]);
  const Real<kB> b(F::kArity > 1 ? args.in[1] : args.in[0]);
  const Real<kC> c(F::kArity > 2 ? args.in[2] : args.in[0]);
  auto* out = static_cast<Stored*>(args.out);
  const auto apply = [](V x, V y, V z) {
    if constexpr (F::kArity == 1) return F::apply(x);
    else if constexpr (F::kArity == 2) return F::apply(x, y);
    else return F::apply(x, y, z);
  };
  int64_t i = 0;
  for (; i + kLanes <= args.n; i += kLanes) store(out + i, apply(a.get(i), b.get(i), c.get(i)));
  const int rest = static_cast<int>(args.n - i);
  if (rest > 0) store_n(out + i, apply(a.get_n(i, rest), b.get_n(i, rest), c.get_n(i, rest)), rest);
}

template <class F>
BlockFn float_form(unsigned scalars) {
  if constexpr (F::kArity == 1) return scalars == 0 ? float_block<F, false, true, true> : nullptr;
  if constexpr (F::kArity == 2) {
    switch (scalars) {
      case 0: return float_block<F, false, false, true>;
      case 1: return float_block<F, true, false, true>;
      case 2: return float_block<F, false, true, true>;
      default: return nullptr;
    }
  }
  if constexpr (F::kArity == 3) {
    switch (scalars) {
      case 0: return float_block<F, false, false, false>;
      case 2: return float_block<F, false, true, false>;
      case 4: return float_block<F, false, false, true>;
      case 6: return float_block<F, false, true, true>;
      default: return nullptr;
    }
  }
}

#define HONE_UNARY(NAME, EXPR)                        \
  struct NAME {                                       \
    static constexpr int kArity = 1;                  \
    static HONE_INLINE V apply(V x) { return (EXPR); } \
  };
#define HONE_BINARY(NAME, EXPR)                            \
  struct NAME {                                            \
    static constexpr int kArity = 2;                       \
    static HONE_INLINE V apply(V x, V y) { return (EXPR); } \
  };
#define HONE_TERNARY(NAME, EXPR)                                \
  struct NAME {                                                 \
    static constexpr int kArity = 3;                            \
    static HONE_INLINE V apply(V x, V y, V z) { return (EXPR); } \
  };
#define HONE_LIBM(NAME, FUNCTION) HONE_UNARY(NAME, math::per_lane([](float v) { return FUNCTION(v); }, x))

HONE_BINARY(Add, x + y)
HONE_BINARY(Sub, x - y)
HONE_BINARY(Mul, x * y)
HONE_BINARY(Div, x / y)
HONE_BINARY(Min, math::minimum(x, y))
HONE_BINARY(Max, math::maximum(x, y))
HONE_BINARY(LeakyRelu, x < zero() ? x * y : x)
HONE_BINARY(Elu, x < zero() ? y * math::expm1(x) : x)
HONE_BINARY(Celu, math::at_least(x, zero()) + math::at_most(y * math::expm1(x / y), zero()))
HONE_BINARY(Pow, math::per_lane([](float a, float b) { return ::powf(a, b); }, x, y))
HONE_BINARY(Fmod, math::per_lane([](float a, float b) { return ::fmodf(a, b); }, x, y))
HONE_BINARY(Atan2, math::per_lane([](float a, float b) { return ::atan2f(a, b); }, x, y))
HONE_BINARY(Mod, math::per_lane(
                     [](float a, float b) {
                       const float r = ::fmodf(a, b);
                       return r != 0 && (r < 0) != (b < 0) ? r + b : r;
                     },
                     x, y))
HONE_TERNARY(MulAdd, fma(x, y, z))
HONE_TERNARY(Clip, math::minimum(math::maximum(x, y), z))
HONE_TERNARY(HardSigmoid, math::at_least(math::at_most(fma(x, y, z), set1(1.f)), zero()))
HONE_UNARY(Neg, -x)
HONE_UNARY(Abs, abs(x))
HONE_UNARY(Sign, x > zero() ? set1(1.f) : x < zero() ? set1(-1.f) : x + zero())
HONE_UNARY(Reciprocal, set1(1.f) / x)
HONE_UNARY(Sqrt, math::sqrt(x))
HONE_UNARY(Rsqrt, set1(1.f) / math::sqrt(x))
HONE_UNARY(Square, x * x)
HONE_UNARY(Exp, math::exp(x))
HONE_UNARY(Log, math::log(x))
HONE_UNARY(Expm1, math::expm1(x))
HONE_UNARY(Log1p, math::log1p(x))
HONE_UNARY(Sin, math::sin(x))
HONE_UNARY(Cos, math::cos(x))
HONE_LIBM(Tan, ::tanf)
HONE_LIBM(Asin, ::asinf)
HONE_LIBM(Acos, ::acosf)
HONE_LIBM(Atan, ::atanf)
HONE_LIBM(Sinh, ::sinhf)
HONE_LIBM(Cosh, ::coshf)
HONE_LIBM(Asinh, ::asinhf)
HONE_LIBM(Acosh, ::acoshf)
HONE_LIBM(Atanh, ::atanhf)
HONE_UNARY(Tanh, math::tanh(x))
HONE_UNARY(Erf, math::erf(x))
HONE_UNARY(Floor, math::floor(x))
HONE_UNARY(Ceil, math::ceil(x))
HONE_UNARY(Round, math::rint(x))
HONE_UNARY(Trunc, math::trunc(x))
HONE_UNARY(Relu, math::at_least(x, zero()))
HONE_UNARY(Sigmoid, math::sigmoid(x))
HONE_UNARY(Softplus, math::softplus(x))
HONE_UNARY(Softsign, x / (set1(1.f) + abs(x)))
HONE_UNARY(Silu, x * math::sigmoid(x))
HONE_UNARY(HardSwish, x * math::at_most(math::at_least(fma(x, set1(1.f / 6), set1(0.5f)), zero()), set1(1.f)))
HONE_UNARY(GeluErf, math::gelu_erf(x))
HONE_UNARY(GeluTanh, math::gelu_tanh(x))
HONE_UNARY(Mish, math::mish(x))

#undef HONE_UNARY
#undef HONE_BINARY
#undef HONE_TERNARY
#undef HONE_LIBM

static BlockFn find_float(Fn fn, unsigned scalars) {
  switch (fn) {
    case Fn::add: return float_form<Add>(scalars);
    case Fn::sub: return float_form<Sub>(scalars);
    case Fn::mul: return float_form<Mul>(scalars);
    case Fn::div: return float_form<Div>(scalars);
    case Fn::pow: return float_form<Pow>(scalars);
    case Fn::mod: return float_form<Mod>(scalars);
    case Fn::fmod: return float_form<Fmod>(scalars);
    case Fn::min: return float_form<Min>(scalars);
    case Fn::max: return float_form<Max>(scalars);
    case Fn::atan2: return float_form<Atan2>(scalars);
    case Fn::prelu:
    case Fn::leaky_relu: return float_form<LeakyRelu>(scalars);
    case Fn::elu: return float_form<Elu>(scalars);
    case Fn::celu: return float_form<Celu>(scalars);
    case Fn::clip: return float_form<Clip>(scalars);
    case Fn::hard_sigmoid: return float_form<HardSigmoid>(scalars);
    default: break;
  }
  switch (fn) {
#define HONE_ROW(fn, NAME) \
  case Fn::fn: return float_form<NAME>(scalars);
    HONE_ROW(neg, Neg) HONE_ROW(abs, Abs) HONE_ROW(sign, Sign) HONE_ROW(reciprocal, Reciprocal)
    HONE_ROW(sqrt, Sqrt) HONE_ROW(rsqrt, Rsqrt) HONE_ROW(square, Square) HONE_ROW(exp, Exp) HONE_ROW(log, Log)
    HONE_ROW(expm1, Expm1) HONE_ROW(log1p, Log1p) HONE_ROW(sin, Sin) HONE_ROW(cos, Cos) HONE_ROW(tan, Tan)
    HONE_ROW(asin, Asin) HONE_ROW(acos, Acos) HONE_ROW(atan, Atan) HONE_ROW(sinh, Sinh) HONE_ROW(cosh, Cosh)
    HONE_ROW(tanh, Tanh) HONE_ROW(asinh, Asinh) HONE_ROW(acosh, Acosh) HONE_ROW(atanh, Atanh) HONE_ROW(erf, Erf)
    HONE_ROW(floor, Floor) HONE_ROW(ceil, Ceil) HONE_ROW(round, Round) HONE_ROW(trunc, Trunc) HONE_ROW(relu, Relu)
    HONE_ROW(sigmoid, Sigmoid) HONE_ROW(softplus, Softplus) HONE_ROW(softsign, Softsign) HONE_ROW(silu, Silu)
    HONE_ROW(hard_swish, HardSwish) HONE_ROW(gelu_erf, GeluErf) HONE_ROW(gelu_tanh, GeluTanh) HONE_ROW(mish, Mish)
#undef HONE_ROW
    default: return nullptr;
  }
}

// Picks b where the mask holds, else c.
template <bool kB, bool kC>
void where_float(const BlockArgs& args) {
  const auto* mask = static_cast<const uint8_t*>(args.in[0]);
  const Real<kB> b(args.in[1]);
  const Real<kC> c(args.in[2]);
  auto* out = static_cast<Stored*>(args.out);
  int64_t i = 0;
  for (; i + kLanes <= args.n; i += kLanes) {
    const VI m = __builtin_convertvector(*reinterpret_cast<const Bytes*>(mask + i), VI);
    store(out + i, m != set1i(0) ? b.get(i) : c.get(i));
  }
  for (; i < args.n; ++i) out[i] = mask[i] != 0 ? b.p[kB ? 0 : i] : c.p[kC ? 0 : i];
}

static BlockFn find_where_float(unsigned scalars) {
  switch (scalars) {
    case 0: return where_float<false, false>;
    case 2: return where_float<true, false>;
    case 4: return where_float<false, true>;
    case 6: return where_float<true, true>;
    default: return nullptr;
  }
}

}  // namespace hone::cpu::HONE_TIER_NS
