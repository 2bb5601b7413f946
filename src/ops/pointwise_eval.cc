#include "ops/pointwise_eval.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hone {
namespace {

constexpr double kSqrt2 = 1.4142135623730951, kTwoOverPi = 0.6366197723675814;

int64_t wrap(DType type, int64_t v) {
  switch (type) {
    case DType::i8: return static_cast<int8_t>(v);
    case DType::i16: return static_cast<int16_t>(v);
    case DType::i32: return static_cast<int32_t>(v);
    case DType::u8: return static_cast<uint8_t>(v);
    case DType::u16: return static_cast<uint16_t>(v);
    case DType::u32: return static_cast<uint32_t>(v);
    case DType::boolean: return v != 0;
    case DType::i4: return static_cast<int8_t>(v << 4) >> 4;
    case DType::u4: return v & 15;
    case DType::i2: return static_cast<int8_t>(v << 6) >> 6;
    case DType::u2: return v & 3;
    default: return v;
  }
}

double round_to(DType type, double v, bool saturate) {
  switch (type) {
    case DType::f64: return v;
    case DType::f32: return static_cast<float>(v);
    case DType::f16: return to_float(to_f16(v));
    case DType::bf16: return to_float(to_bf16(v));
    default: return decode_small(type, encode_small(type, v, saturate));
  }
}

// What 64 bits do not hold is not wrapped.
int64_t real_to_int(DType type, double v) {
  if (std::isnan(v)) return 0;
  if (type == DType::boolean) return v != 0;
  if (type == DType::u64) return static_cast<int64_t>(to_uint64(v));
  const int64_t whole = to_int64(v);
  return whole == INT64_MAX || whole == INT64_MIN ? whole : wrap(type, whole);
}

double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(kTwoOverPi) * (x + 0.044715 * x * x * x))); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
double python_mod(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
// NaN wins, as in numpy.
double minimum(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b); }
double maximum(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b); }

double real_result(Fn fn, double a, double b, double c) {
  switch (fn) {
    case Fn::add: return a + b;
    case Fn::sub: return a - b;
    case Fn::mul: return a * b;
    case Fn::div: return a / b;
    case Fn::pow: return std::pow(a, b);
    case Fn::mod: return python_mod(a, b);
    case Fn::fmod: return std::fmod(a, b);
    case Fn::min: return minimum(a, b);
    case Fn::max: return maximum(a, b);
    case Fn::atan2: return std::atan2(a, b);
    case Fn::prelu:
    case Fn::leaky_relu: return a < 0 ? b * a : a;
    case Fn::clip: return minimum(maximum(a, b), c);
    case Fn::neg: return -a;
    case Fn::abs: return std::fabs(a);
    case Fn::sign: return std::isnan(a) ? a : (a > 0) - (a < 0);
    case Fn::reciprocal: return 1 / a;
    case Fn::sqrt: return std::sqrt(a);
    case Fn::rsqrt: return 1 / std::sqrt(a);
    case Fn::square: return a * a;
    case Fn::exp: return std::exp(a);
    case Fn::log: return std::log(a);
    case Fn::expm1: return std::expm1(a);
    case Fn::log1p: return std::log1p(a);
    case Fn::sin: return std::sin(a);
    case Fn::cos: return std::cos(a);
    case Fn::tan: return std::tan(a);
    case Fn::asin: return std::asin(a);
    case Fn::acos: return std::acos(a);
    case Fn::atan: return std::atan(a);
    case Fn::sinh: return std::sinh(a);
    case Fn::cosh: return std::cosh(a);
    case Fn::tanh: return std::tanh(a);
    case Fn::asinh: return std::asinh(a);
    case Fn::acosh: return std::acosh(a);
    case Fn::atanh: return std::atanh(a);
    case Fn::erf: return std::erf(a);
    case Fn::floor: return std::floor(a);
    case Fn::ceil: return std::ceil(a);
    case Fn::round: return std::nearbyint(a);
    case Fn::trunc: return std::trunc(a);
    case Fn::relu: return maximum(a, 0);
    case Fn::sigmoid: return sigmoid(a);
    case Fn::softplus: return softplus(a);
    case Fn::softsign: return a / (1 + std::fabs(a));
    case Fn::silu: return a * sigmoid(a);
    case Fn::hard_swish: return a * minimum(maximum(a / 6 + 0.5, 0), 1);
    case Fn::gelu_erf: return 0.5 * a * (1 + std::erf(a / kSqrt2));
    case Fn::gelu_tanh: return gelu_tanh(a);
    case Fn::mish: return a * std::tanh(softplus(a));
    case Fn::elu: return a < 0 ? b * std::expm1(a) : a;
    case Fn::celu: return maximum(a, 0) + minimum(0, b * std::expm1(a / b));
    case Fn::hard_sigmoid: return maximum(0, minimum(1, b * a + c));
    default: return std::numeric_limits<double>::quiet_NaN();
  }
}

int64_t int_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  uint64_t result = 1, factor = static_cast<uint64_t>(base);
  for (; exponent > 0; exponent >>= 1, factor *= factor)
    if (exponent & 1) result *= factor;
  return static_cast<int64_t>(result);
}

int64_t int_divide(Fn fn, bool is_signed, int64_t a, int64_t b) {
  if (b == 0) return 0;
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  if (!is_signed) return static_cast<int64_t>(fn == Fn::div ? ua / ub : ua % ub);
  if (b == -1) return fn == Fn::div ? static_cast<int64_t>(0 - ua) : 0;
  if (fn == Fn::div) return a / b;
  const int64_t r = a % b;
  return fn == Fn::mod && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

int64_t int_result(Fn fn, bool is_signed, int64_t a, int64_t b, int64_t c) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  const auto less = [is_signed](int64_t x, int64_t y) {
    return is_signed ? x < y : static_cast<uint64_t>(x) < static_cast<uint64_t>(y);
  };
  switch (fn) {
    case Fn::add: return static_cast<int64_t>(ua + ub);
    case Fn::sub: return static_cast<int64_t>(ua - ub);
    case Fn::mul: return static_cast<int64_t>(ua * ub);
    case Fn::div:
    case Fn::mod:
    case Fn::fmod: return int_divide(fn, is_signed, a, b);
    case Fn::pow: return int_power(a, b);
    case Fn::min: return less(b, a) ? b : a;
    case Fn::max: return less(a, b) ? b : a;
    case Fn::clip: {
      const int64_t low = less(a, b) ? b : a;
      return less(c, low) ? c : low;
    }
    case Fn::bit_and: return a & b;
    case Fn::bit_or: return a | b;
    case Fn::bit_xor: return a ^ b;
    case Fn::bit_not: return ~a;
    case Fn::shift_left: return ub > 63 ? 0 : static_cast<int64_t>(ua << ub);
    case Fn::shift_right: return ub > 63 ? 0 : static_cast<int64_t>(ua >> ub);
    case Fn::neg: return static_cast<int64_t>(0 - ua);
    case Fn::abs: return is_signed && a < 0 ? static_cast<int64_t>(0 - ua) : a;
    case Fn::sign: return is_signed ? (a > 0) - (a < 0) : a != 0;
    case Fn::square: return static_cast<int64_t>(ua * ua);
    case Fn::relu: return is_signed ? std::max<int64_t>(a, 0) : a;
    case Fn::prelu:
    case Fn::leaky_relu: return is_signed && a < 0 ? static_cast<int64_t>(ua * ub) : a;
    default: return a;  // floor, ceil, round, trunc
  }
}

// Comparison and logic over any operand type.
int64_t predicate(Fn fn, bool real, bool is_signed, double x, double y, int64_t a, int64_t b) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  switch (fn) {
    case Fn::equal: return real ? x == y : a == b;
    case Fn::less: return real ? x < y : is_signed ? a < b : ua < ub;
    case Fn::less_equal: return real ? x <= y : is_signed ? a <= b : ua <= ub;
    case Fn::greater: return real ? x > y : is_signed ? a > b : ua > ub;
    case Fn::greater_equal: return real ? x >= y : is_signed ? a >= b : ua >= ub;
    case Fn::logical_and: return a && b;
    case Fn::logical_or: return a || b;
    case Fn::logical_xor: return (a != 0) != (b != 0);
    case Fn::logical_not: return !a;
    case Fn::is_nan: return real && std::isnan(x);
    default: return real && std::isinf(x);
  }
}

bool is_predicate(Fn fn) { return (fn >= Fn::equal && fn <= Fn::logical_not) || fn == Fn::is_nan || fn == Fn::is_inf; }

}  // namespace

ScalarProgram::ScalarProgram(const PointwiseProgram& program) : program_(program), registers_(program.code.size()) {}

ScalarProgram::Number ScalarProgram::apply(const PointwiseInstr& instr, DType operand) const {
  const auto get = [&](int i) {
    return instr.operand[i] < 0 ? Number{} : registers_[static_cast<size_t>(instr.operand[i])];
  };
  const Number a = get(0), b = get(1), c = get(2);
  const bool real = is_float(operand);
  if (is_predicate(instr.fn))
    return {.whole = predicate(instr.fn, real, operand != DType::u64, a.real, b.real, a.whole, b.whole)};
  if (instr.fn == Fn::where) return a.whole ? b : c;
  if (instr.fn == Fn::cast || instr.fn == Fn::cast_saturate) {
    if (is_float(instr.type)) {
      const double v = real                    ? a.real
                       : operand == DType::u64 ? static_cast<double>(static_cast<uint64_t>(a.whole))
                                               : static_cast<double>(a.whole);
      return {.real = round_to(instr.type, v, instr.fn == Fn::cast_saturate)};
    }
    return {.whole = real ? real_to_int(instr.type, a.real) : wrap(instr.type, a.whole)};
  }
  if (is_float(instr.type)) {
    // pow may mix a float base with an integer exponent, or the other way.
    const auto as_real = [&](int i, const Number& n) {
      if (instr.operand[i] < 0) return 0.0;
      return is_float(program_.code[static_cast<size_t>(instr.operand[i])].type) ? n.real
                                                                                 : static_cast<double>(n.whole);
    };
    return {.real = real_result(instr.fn, as_real(0, a), as_real(1, b), as_real(2, c))};
  }
  if (instr.fn == Fn::pow && instr.operand[1] >= 0 &&
      is_float(program_.code[static_cast<size_t>(instr.operand[1])].type))
    return {.whole = real_to_int(instr.type, std::pow(static_cast<double>(a.whole), b.real))};
  return {.whole = wrap(instr.type, int_result(instr.fn, operand != DType::u64, a.whole, b.whole, c.whole))};
}

void ScalarProgram::run(std::span<const Tensor> inputs, std::span<const int64_t> offsets, Tensor& out, int64_t index) {
  for (size_t i = 0; i < program_.code.size(); ++i) {
    const PointwiseInstr& instr = program_.code[i];
    if (instr.fn == Fn::input) {
      const Tensor& t = inputs[static_cast<size_t>(instr.input)];
      const int64_t at = offsets[static_cast<size_t>(instr.input)];
      registers_[i] = is_float(instr.type) ? Number{.real = t.at(at)} : Number{.whole = t.int_at(at)};
    } else if (instr.fn == Fn::constant) {
      registers_[i] =
          is_float(instr.type) ? Number{.real = instr.value} : Number{.whole = static_cast<int64_t>(instr.value)};
    } else {
      registers_[i] = apply(instr, program_.code[static_cast<size_t>(instr.operand[0])].type);
    }
  }
  const Number& result = registers_.back();
  if (is_float(out.type()) && size_of(out.type()) == 1) {
    // Only a plain cast may overflow to NaN or infinity.
    out.mutable_data<uint8_t>()[index] = encode_small(out.type(), result.real, program_.code.back().fn != Fn::cast);
  } else if (is_float(out.type())) {
    out.set(index, result.real);
  } else {
    out.set_int(index, result.whole);
  }
}

}  // namespace hone
