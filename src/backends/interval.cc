#include "backends/interval.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/tensor.h"
#include "ops/pointwise_eval.h"

namespace hone {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Ends of sums and products of infinities may be NaN: then nothing is known.
Interval between(double low, double high) {
  return {std::isnan(low) ? -kInfinity : low, std::isnan(high) ? kInfinity : high};
}

bool contains(const Interval& a, double v) { return a.low <= v && v <= a.high; }

// One function of the pointwise language on a number.
double value_at(Fn fn, double x) {
  const PointwiseProgram program = single(fn, DType::f64, DType::f64);
  const Tensor in = Tensor::scalar(x, DType::f64);
  Tensor out(DType::f64, {});
  const int64_t offset = 0;
  ScalarProgram(program).run({&in, 1}, {&offset, 1}, out, 0);
  return out.at(0);
}

// Functions that never fall where they are defined.
struct Rising {
  Fn fn;
  Interval domain = {};
};
constexpr Rising kRising[] = {{Fn::exp},
                              {Fn::expm1},
                              {Fn::sinh},
                              {Fn::asinh},
                              {Fn::atan},
                              {Fn::tanh},
                              {Fn::erf},
                              {Fn::floor},
                              {Fn::ceil},
                              {Fn::round},
                              {Fn::trunc},
                              {Fn::relu},
                              {Fn::sigmoid},
                              {Fn::softplus},
                              {Fn::sqrt, {0, kInfinity}},
                              {Fn::log, {0, kInfinity}},
                              {Fn::log1p, {-1, kInfinity}},
                              {Fn::acosh, {1, kInfinity}},
                              {Fn::asin, {-1, 1}},
                              {Fn::atanh, {-1, 1}}};

// Activations that are at most 0 up to 0, and rise behind it.
struct Dipping {
  Fn fn;
  double least;
};
constexpr Dipping kDipping[] = {{Fn::silu, -0.278465},
                                {Fn::hard_swish, -0.375},
                                {Fn::gelu_erf, -0.169971},
                                {Fn::gelu_tanh, -0.170041},
                                {Fn::mish, -0.308841}};

// Functions whose results are bounded whatever they are given.
struct Bounded {
  Fn fn;
  Interval codomain;
};
constexpr Bounded kBounded[] = {{Fn::sin, {-1, 1}},
                                {Fn::cos, {-1, 1}},
                                {Fn::acos, {0, std::numbers::pi}},
                                {Fn::atan2, {-std::numbers::pi, std::numbers::pi}},
                                {Fn::sign, {-1, 1}},
                                {Fn::softsign, {-1, 1}},
                                {Fn::hard_sigmoid, {0, 1}}};

using Operands = std::span<const Interval>;

Interval negated(const Interval& a) { return {-a.high, -a.low}; }

Interval absolute(const Interval& a) { return {contains(a, 0) ? 0 : std::min(-a.high, a.low), a.magnitude()}; }

Interval squared(const Interval& a) {
  const double least = contains(a, 0) ? 0 : std::min(std::fabs(a.low), std::fabs(a.high));
  return {least * least, a.magnitude() * a.magnitude()};
}

Interval inverse(const Interval& a) { return contains(a, 0) ? Interval{} : Interval{1 / a.high, 1 / a.low}; }

Interval power(Operands x) {
  const Interval &a = x[0], &b = x[1];
  if (b == Interval{2, 2}) return squared(a);
  if (a.low < 0 || (a.low == 0 && b.low < 0)) return {};
  Interval result{kInfinity, -kInfinity};
  for (const double base : {a.low, a.high})
    for (const double exponent : {b.low, b.high}) {
      const double corner = std::pow(base, exponent);
      if (std::isnan(corner)) return {};
      result = hull(result, {corner, corner});
    }
  return result;
}

// What lies below 0 goes through `below`, the rest stays.
Interval split_at_zero(const Interval& a, const auto& below) {
  if (a.low >= 0) return a;
  const Interval negative = below(Interval{a.low, std::min(a.high, 0.0)});
  return a.high < 0 ? negative : hull(negative, {0, a.high});
}

Interval leaky(Operands x) {
  return split_at_zero(x[0], [&](const Interval& negative) { return product(negative, x[1]); });
}

Interval elu(Operands x) {
  return split_at_zero(x[0], [&](const Interval& negative) {
    return product({std::expm1(negative.low), std::expm1(negative.high)}, x[1]);
  });
}

Interval celu(Operands x) { return x[1].low > 0 ? Interval{-x[1].high, std::max(x[0].high, 0.0)} : Interval{}; }

Interval remainder(Operands x) { return {-x[1].magnitude(), x[1].magnitude()}; }

struct Rule {
  Fn fn;
  Interval (*bound)(Operands);
};
constexpr Rule kRules[] = {
    {Fn::add, [](Operands x) { return sum(x[0], x[1]); }},
    {Fn::sub, [](Operands x) { return sum(x[0], negated(x[1])); }},
    {Fn::mul, [](Operands x) { return product(x[0], x[1]); }},
    {Fn::div, [](Operands x) { return contains(x[1], 0) ? Interval{} : product(x[0], inverse(x[1])); }},
    {Fn::pow, power},
    {Fn::mod, remainder},
    {Fn::fmod, remainder},
    {Fn::min,
     [](Operands x) {
       return Interval{std::min(x[0].low, x[1].low), std::min(x[0].high, x[1].high)};
     }},
    {Fn::max,
     [](Operands x) {
       return Interval{std::max(x[0].low, x[1].low), std::max(x[0].high, x[1].high)};
     }},
    {Fn::clip,
     [](Operands x) {
       return Interval{std::min(std::max(x[0].low, x[1].low), x[2].low),
                       std::min(std::max(x[0].high, x[1].high), x[2].high)};
     }},
    {Fn::where, [](Operands x) { return hull(x[1], x[2]); }},
    {Fn::neg, [](Operands x) { return negated(x[0]); }},
    {Fn::abs, [](Operands x) { return absolute(x[0]); }},
    {Fn::square, [](Operands x) { return squared(x[0]); }},
    {Fn::reciprocal, [](Operands x) { return inverse(x[0]); }},
    {Fn::rsqrt,
     [](Operands x) {
       return x[0].low > 0 ? Interval{1 / std::sqrt(x[0].high), 1 / std::sqrt(x[0].low)} : Interval{};
     }},
    {Fn::cosh,
     [](Operands x) {
       return Interval{1, std::cosh(x[0].magnitude())};
     }},
    {Fn::prelu, leaky},
    {Fn::leaky_relu, leaky},
    {Fn::elu, elu},
    {Fn::celu, celu},
    {Fn::cast, [](Operands x) { return x[0]; }},
    {Fn::cast_saturate, [](Operands x) { return x[0]; }}};

Interval of_floats(Fn fn, Operands x) {
  for (const Rising& row : kRising) {
    if (row.fn != fn) continue;
    const auto at = [&](double v) { return value_at(fn, std::clamp(v, row.domain.low, row.domain.high)); };
    return between(at(x[0].low), at(x[0].high));
  }
  for (const Dipping& row : kDipping)
    if (row.fn == fn)
      return {x[0].low >= 0 ? value_at(fn, x[0].low) : row.least, x[0].high > 0 ? value_at(fn, x[0].high) : 0};
  for (const Bounded& row : kBounded)
    if (row.fn == fn) return row.codomain;
  for (const Rule& row : kRules)
    if (row.fn == fn) return row.bound(x);
  return {};
}

// Of integers, those functions that the table has for them as well.
constexpr Fn kExact[] = {Fn::add, Fn::sub, Fn::mul,    Fn::min,  Fn::max,  Fn::clip,         Fn::where,
                         Fn::neg, Fn::abs, Fn::square, Fn::relu, Fn::cast, Fn::cast_saturate};

Interval bound_of(const PointwiseInstr& instr, Operands x, DType operand) {
  if (is_float(instr.type)) return of_floats(instr.fn, x);
  if (std::ranges::find(kExact, instr.fn) == std::end(kExact)) return all_of(instr.type);
  const bool converts = instr.fn == Fn::cast || instr.fn == Fn::cast_saturate;
  if (converts && instr.type == DType::boolean) return all_of(instr.type);
  if (!converts || !is_float(operand)) return of_floats(instr.fn, x);
  // NaN becomes 0.
  return hull({std::trunc(x[0].low), std::trunc(x[0].high)}, {0, 0});
}

double rounded(double v, DType type) {
  switch (type) {
    case DType::f32: return static_cast<float>(v);
    case DType::f16: return to_float(to_f16(v));
    case DType::bf16: return to_float(to_bf16(v));
    case DType::f8e4m3fn: return decode_small(type, encode_small(type, v));
    default: return v;
  }
}

}  // namespace

double Interval::magnitude() const { return std::max(std::fabs(low), std::fabs(high)); }

Interval hull(const Interval& a, const Interval& b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }

Interval sum(const Interval& a, const Interval& b) { return between(a.low + b.low, a.high + b.high); }

Interval product(const Interval& a, const Interval& b) {
  // Infinity times 0 is NaN, which need not be in the result.
  const auto times = [](double x, double y) { return x == 0 || y == 0 ? 0 : x * y; };
  const auto [low, high] =
      std::minmax({times(a.low, b.low), times(a.low, b.high), times(a.high, b.low), times(a.high, b.high)});
  return {low, high};
}

Interval scaled(const Interval& a, double factor) { return product(a, {factor, factor}); }

Interval all_of(DType type) {
  if (type == DType::boolean) return {0, 1};
  if (type == DType::f8e4m3fn) return {-448, 448};
  if (!is_integer(type)) return {};
  if (type == DType::i4 || type == DType::u4) return type == DType::i4 ? Interval{-8, 7} : Interval{0, 15};
  if (type == DType::i2 || type == DType::u2) return type == DType::i2 ? Interval{-2, 1} : Interval{0, 3};
  const int bits = static_cast<int>(8 * size_of(type));
  return is_signed(type) ? Interval{-std::ldexp(1.0, bits - 1), std::ldexp(1.0, bits - 1) - 1}
                         : Interval{0, std::ldexp(1.0, bits) - 1};
}

Interval stored(const Interval& exact, DType type) {
  if (type == DType::f32 || type == DType::f16 || type == DType::bf16 || type == DType::f8e4m3fn)
    return between(rounded(exact.low, type), rounded(exact.high, type));
  const Interval all = all_of(type);
  return is_float(type) || exact.within(all) ? exact : all;
}

Interval bound_of(const PointwiseProgram& program, std::span<const Interval> inputs) {
  std::vector<Interval> places;
  for (const PointwiseInstr& instr : program.code) {
    if (instr.fn == Fn::input) {
      places.push_back(inputs[static_cast<size_t>(instr.input)]);
      continue;
    }
    if (instr.fn == Fn::constant) {
      places.push_back(between(instr.value, instr.value));
      continue;
    }
    Interval operands[3];
    for (int k = 0; k < arity(instr.fn); ++k) operands[k] = places[static_cast<size_t>(instr.operand[k])];
    const bool square = instr.fn == Fn::mul && instr.operand[0] == instr.operand[1];
    const auto operand = static_cast<size_t>(instr.operand[0]);
    Interval bound =
        square && is_float(instr.type) ? squared(operands[0]) : bound_of(instr, operands, program.code[operand].type);
    const bool casts = instr.fn == Fn::cast || instr.fn == Fn::cast_saturate;
    if (casts || !is_float(instr.type)) bound = stored(bound, instr.type);
    places.push_back(bound);
  }
  return places.back();
}

}  // namespace hone
