#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace hone {

// Scalar functions that a pointwise program may apply. One row: name, number of operands.
// Integer arithmetic wraps; `div` of integers truncates towards zero; comparisons and logic yield booleans.
#define HONE_POINTWISE_FUNCTIONS(X)                                                                   \
  X(input, 0) X(constant, 0) X(cast, 1) X(cast_saturate, 1)                                           \
  X(add, 2) X(sub, 2) X(mul, 2) X(div, 2) X(pow, 2) X(mod, 2) X(fmod, 2) X(min, 2) X(max, 2)          \
  X(atan2, 2) X(prelu, 2)                                                                             \
  X(equal, 2) X(less, 2) X(less_equal, 2) X(greater, 2) X(greater_equal, 2)                           \
  X(logical_and, 2) X(logical_or, 2) X(logical_xor, 2) X(logical_not, 1)                              \
  X(bit_and, 2) X(bit_or, 2) X(bit_xor, 2) X(bit_not, 1) X(shift_left, 2) X(shift_right, 2)           \
  X(where, 3) X(clip, 3)                                                                              \
  X(neg, 1) X(abs, 1) X(sign, 1) X(reciprocal, 1) X(sqrt, 1) X(rsqrt, 1) X(square, 1)                 \
  X(exp, 1) X(log, 1) X(expm1, 1) X(log1p, 1)                                                         \
  X(sin, 1) X(cos, 1) X(tan, 1) X(asin, 1) X(acos, 1) X(atan, 1)                                      \
  X(sinh, 1) X(cosh, 1) X(tanh, 1) X(asinh, 1) X(acosh, 1) X(atanh, 1)                                \
  X(erf, 1) X(floor, 1) X(ceil, 1) X(round, 1) X(trunc, 1) X(is_nan, 1) X(is_inf, 1)                  \
  X(relu, 1) X(sigmoid, 1) X(softplus, 1) X(softsign, 1) X(silu, 1) X(hard_swish, 1)                  \
  X(gelu_erf, 1) X(gelu_tanh, 1) X(mish, 1)                                                           \
  X(leaky_relu, 2) X(elu, 2) X(celu, 2) X(hard_sigmoid, 3)

enum class Fn : uint8_t {
#define X(name, arity) name,
  HONE_POINTWISE_FUNCTIONS(X)
#undef X
};

std::string_view name(Fn fn);
int arity(Fn fn);

// One instruction; operands are indices of earlier instructions.
struct PointwiseInstr {
  Fn fn = Fn::input;
  DType type = DType::f32;  // of the result
  int32_t operand[3] = {-1, -1, -1};
  int32_t input = -1;  // of Fn::input
  double value = 0;    // of Fn::constant: exact in `type`

  bool operator==(const PointwiseInstr&) const = default;
};

// A scalar expression DAG in single-assignment form, applied to every element. The last instruction is the result.
// prelu(x, s) = x < 0 ? s*x : x; leaky_relu(x, alpha), elu(x, alpha), celu(x, alpha), hard_sigmoid(x, alpha, beta),
// clip(x, lo, hi) = min(max(x, lo), hi). is_inf knows both signs. round is half to even. mod has the divisor's sign
// (Python), fmod the dividend's (C).
struct PointwiseProgram {
  std::vector<PointwiseInstr> code;

  int inputs() const;  // 1 + the largest input index
  DType result_type() const { return code.back().type; }
  bool operator==(const PointwiseProgram&) const = default;
};

// "in0:f32; in1:f32; add:f32(0,1); relu:f32(2)"
std::string to_text(const PointwiseProgram& program);
Result<PointwiseProgram> pointwise_from_text(std::string_view text);

// One function over inputs of type `type` in order: fn(in0, in1, ...) -> `result`.
PointwiseProgram single(Fn fn, DType type, DType result);

}  // namespace hone
