// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Block operations on integers and booleans, comparisons, and selection. Included by sources built once per tier.
#pragma once

#include "kernels/cpu/pointwise/block.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

template <class F, class T, class R, bool kA, bool kB>
void typed_block(const BlockArgs& args) {
  const T* a = static_cast<const T*>(args.in[0]);
  const T* b = static_cast<const T*>(F::kArity > 1 ? args.in[1] : args.in[0]);
  R* out = static_cast<R*>(args.out);
#pragma GCC ivdep
  for (int64_t i = 0, n = args.n; i < n; ++i) out[i] = static_cast<R>(F::apply(a[kA ? 0 : i], b[kB ? 0 : i]));
}

template <class F, class T, class R>
BlockFn typed_form(unsigned scalars) {
  if constexpr (F::kArity == 1) return scalars == 0 ? typed_block<F, T, R, false, true> : nullptr;
  switch (scalars) {
    case 0: return typed_block<F, T, R, false, false>;
    case 1: return typed_block<F, T, R, true, false>;
    case 2: return typed_block<F, T, R, false, true>;
    default: return nullptr;
  }
}

// Results are exact modulo 2^64, and the store cuts them to the type.
#define HONE_INTEGER(NAME, ARITY, EXPR)                                               \
  struct Int##NAME {                                                                  \
    static constexpr int kArity = ARITY;                                              \
    static HONE_INLINE int64_t apply(int64_t a, [[maybe_unused]] int64_t b) { return (EXPR); } \
  };
#define HONE_WRAP(op) static_cast<int64_t>(static_cast<uint64_t>(a) op static_cast<uint64_t>(b))

static inline int64_t int_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  uint64_t result = 1, factor = static_cast<uint64_t>(base);
  for (; exponent > 0; exponent >>= 1, factor *= factor)
    if (exponent & 1) result *= factor;
  return static_cast<int64_t>(result);
}
// Division by zero gives 0; by -1 it is a negation, which cannot trap.
static HONE_INLINE int64_t int_div(int64_t a, int64_t b) {
  return b == 0 ? 0 : b == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a / b;
}
static HONE_INLINE int64_t int_rem(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
static HONE_INLINE int64_t int_mod(int64_t a, int64_t b) {
  const int64_t r = int_rem(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

HONE_INTEGER(Add, 2, HONE_WRAP(+))
HONE_INTEGER(Sub, 2, HONE_WRAP(-))
HONE_INTEGER(Mul, 2, HONE_WRAP(*))
HONE_INTEGER(Div, 2, int_div(a, b))
HONE_INTEGER(Fmod, 2, int_rem(a, b))
HONE_INTEGER(Mod, 2, int_mod(a, b))
HONE_INTEGER(Pow, 2, int_power(a, b))
HONE_INTEGER(Min, 2, b < a ? b : a)
HONE_INTEGER(Max, 2, a < b ? b : a)
HONE_INTEGER(And, 2, a & b)
HONE_INTEGER(Or, 2, a | b)
HONE_INTEGER(Xor, 2, a ^ b)
HONE_INTEGER(ShiftLeft, 2, b < 0 || b > 63 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << b))
HONE_INTEGER(ShiftRight, 2, b < 0 || b > 63 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) >> b))
HONE_INTEGER(Prelu, 2, a < 0 ? HONE_WRAP(*) : a)
HONE_INTEGER(Not, 1, ~a)
HONE_INTEGER(Neg, 1, static_cast<int64_t>(0 - static_cast<uint64_t>(a)))
HONE_INTEGER(Abs, 1, a < 0 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a)
HONE_INTEGER(Sign, 1, (a > 0) - (a < 0))
HONE_INTEGER(Square, 1, static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(a)))
HONE_INTEGER(Relu, 1, a < 0 ? 0 : a)
HONE_INTEGER(Copy, 1, a)
HONE_INTEGER(LogicalNot, 1, a == 0)
HONE_INTEGER(LogicalXor, 2, (a != 0) != (b != 0))

#undef HONE_INTEGER
#undef HONE_WRAP

#define HONE_COMPARE(NAME, OP)                                      \
  struct NAME {                                                     \
    static constexpr int kArity = 2;                                \
    template <class T>                                              \
    static HONE_INLINE bool apply(T a, T b) { return a OP b; }      \
  };
HONE_COMPARE(Equal, ==)
HONE_COMPARE(Less, <)
HONE_COMPARE(LessEqual, <=)
HONE_COMPARE(Greater, >)
HONE_COMPARE(GreaterEqual, >=)
#undef HONE_COMPARE

struct IsNan {
  static constexpr int kArity = 1;
  static HONE_INLINE bool apply(float a, float) { return a != a; }
};
struct IsInf {
  static constexpr int kArity = 1;
  static HONE_INLINE bool apply(float a, float) { return __builtin_fabsf(a) == __builtin_inff(); }
};

template <class T>
BlockFn find_integer(Fn fn, unsigned scalars) {
  switch (fn) {
    case Fn::add: return typed_form<IntAdd, T, T>(scalars);
    case Fn::sub: return typed_form<IntSub, T, T>(scalars);
    case Fn::mul: return typed_form<IntMul, T, T>(scalars);
    case Fn::div: return typed_form<IntDiv, T, T>(scalars);
    case Fn::mod: return typed_form<IntMod, T, T>(scalars);
    case Fn::fmod: return typed_form<IntFmod, T, T>(scalars);
    case Fn::pow: return typed_form<IntPow, T, T>(scalars);
    case Fn::min: return typed_form<IntMin, T, T>(scalars);
    case Fn::max: return typed_form<IntMax, T, T>(scalars);
    case Fn::bit_and: return typed_form<IntAnd, T, T>(scalars);
    case Fn::bit_or: return typed_form<IntOr, T, T>(scalars);
    case Fn::bit_xor: return typed_form<IntXor, T, T>(scalars);
    case Fn::bit_not: return typed_form<IntNot, T, T>(scalars);
    case Fn::shift_left: return typed_form<IntShiftLeft, T, T>(scalars);
    case Fn::shift_right: return typed_form<IntShiftRight, T, T>(scalars);
    case Fn::prelu:
    case Fn::leaky_relu: return typed_form<IntPrelu, T, T>(scalars);
    case Fn::neg: return typed_form<IntNeg, T, T>(scalars);
    case Fn::abs: return typed_form<IntAbs, T, T>(scalars);
    case Fn::sign: return typed_form<IntSign, T, T>(scalars);
    case Fn::square: return typed_form<IntSquare, T, T>(scalars);
    case Fn::relu: return typed_form<IntRelu, T, T>(scalars);
    case Fn::floor:
    case Fn::ceil:
    case Fn::round:
    case Fn::trunc: return typed_form<IntCopy, T, T>(scalars);
    default: return nullptr;
  }
}

template <class T>
BlockFn find_compare(Fn fn, unsigned scalars) {
  switch (fn) {
    case Fn::equal: return typed_form<Equal, T, uint8_t>(scalars);
    case Fn::less: return typed_form<Less, T, uint8_t>(scalars);
    case Fn::less_equal: return typed_form<LessEqual, T, uint8_t>(scalars);
    case Fn::greater: return typed_form<Greater, T, uint8_t>(scalars);
    case Fn::greater_equal: return typed_form<GreaterEqual, T, uint8_t>(scalars);
    default: return nullptr;
  }
}

static BlockFn find_logic(Fn fn, unsigned scalars) {
  switch (fn) {
    case Fn::logical_and: return typed_form<IntAnd, uint8_t, uint8_t>(scalars);
    case Fn::logical_or: return typed_form<IntOr, uint8_t, uint8_t>(scalars);
    case Fn::logical_xor: return typed_form<IntLogicalXor, uint8_t, uint8_t>(scalars);
    case Fn::logical_not: return typed_form<IntLogicalNot, uint8_t, uint8_t>(scalars);
    case Fn::equal: return typed_form<Equal, uint8_t, uint8_t>(scalars);
    case Fn::min: return typed_form<IntMin, uint8_t, uint8_t>(scalars);
    case Fn::max: return typed_form<IntMax, uint8_t, uint8_t>(scalars);
    default: return nullptr;
  }
}

template <class T>
void where_block(const BlockArgs& args) {
  const auto* mask = static_cast<const uint8_t*>(args.in[0]);
  const T* b = static_cast<const T*>(args.in[1]);
  const T* c = static_cast<const T*>(args.in[2]);
  T* out = static_cast<T*>(args.out);
#pragma GCC ivdep
  for (int64_t i = 0, n = args.n; i < n; ++i) out[i] = mask[i] != 0 ? b[i] : c[i];
}

// min(max(x, low), high)
template <class T>
void clip_block(const BlockArgs& args) {
  const T* x = static_cast<const T*>(args.in[0]);
  const T* low = static_cast<const T*>(args.in[1]);
  const T* high = static_cast<const T*>(args.in[2]);
  T* out = static_cast<T*>(args.out);
#pragma GCC ivdep
  for (int64_t i = 0, n = args.n; i < n; ++i) {
    const T v = x[i] < low[i] ? low[i] : x[i];
    out[i] = high[i] < v ? high[i] : v;
  }
}

}  // namespace hone::cpu::HONE_TIER_NS
