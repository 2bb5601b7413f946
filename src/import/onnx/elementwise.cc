#include <algorithm>
#include <cmath>
#include <limits>

#include "import/onnx/expr.h"
#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

// The element type of a numeric or boolean input; a failure for others, or when it is absent.
DType numeric_type(NodeImport& n, size_t k) {
  if (n.failed()) return DType::f32;
  const DType type = n.type(n.input(k)).dtype;
  if (type == DType::none) n.invalid("input {} is absent", k);
  if (type == DType::string || is_complex(type)) n.unsupported("inputs of type {}", name(type));
  return type;
}

// All inputs are there and of one type.
void check_same_types(NodeImport& n) {
  const DType first = numeric_type(n, 0);
  for (size_t k = 1; k < n.input_count() && !n.failed(); ++k)
    if (const DType type = numeric_type(n, k); type != first)
      n.invalid("inputs are {} and {}", name(first), name(type));
}

// The inputs of a binary op. Before opset 7 broadcasting was asked for, and B's dims were those of A from `axis` on:
// dims of 1 behind them say the same in the way of numpy.
std::vector<ValueId> operands(NodeImport& n) {
  std::vector<ValueId> inputs = n.inputs();
  if (n.opset() >= 7 || inputs.size() != 2 || n.failed()) return inputs;
  const TensorType &a = n.type(inputs[0]), &b = n.type(inputs[1]);
  n.ignore({"axis"});  // means nothing without broadcast
  if (n.i("broadcast") == 0) {
    if (a.shape.known() && b.shape.known() && a.shape != b.shape)
      n.invalid("inputs are {} and {} without attribute 'broadcast'", to_text(a), to_text(b));
    return inputs;
  }
  if (!n.has("axis") || (b.shape.known() && element_count(*b.shape.concrete()) == 1)) return inputs;
  const int64_t rank = n.rank(inputs[0]), mine = n.rank(inputs[1]), behind = rank - n.axis(n.i("axis"), rank) - mine;
  if (behind < 0) n.invalid("B is {}, more than A's {} from axis {} on", to_text(b), to_text(a), n.i("axis"));
  if (n.failed() || behind == 0) return inputs;
  std::vector<int64_t> dims(static_cast<size_t>(mine), 0);  // 0 keeps a dim
  dims.insert(dims.end(), static_cast<size_t>(behind), 1);
  inputs[1] = n.reshape(inputs[1], dims);
  return inputs;
}

template <Fn fn>
void import_same(NodeImport& n) {
  check_same_types(n);
  n.output(0, n.pointwise(fn, operands(n)));
}

// A program over the first input alone.
template <class F>
void output_unary(NodeImport& n, F&& formula) {
  Formula f;
  const Expr x = f.input(numeric_type(n, 0));
  n.output(0, n.pointwise(f.program(formula(x)), {n.input(0)}));
}

void import_pow(NodeImport& n) {
  numeric_type(n, 0);
  numeric_type(n, 1);
  n.output(0, n.pointwise(Fn::pow, operands(n)));
}

void import_mod(NodeImport& n) {
  check_same_types(n);
  const bool c_sign = n.i("fmod") != 0;
  if (!c_sign && is_float(numeric_type(n, 0))) return n.invalid("fmod must be 1 for {}", name(numeric_type(n, 0)));
  n.output(0, n.pointwise(c_sign ? Fn::fmod : Fn::mod, n.inputs()));
}

// fn(fn(in0, in1), in2)...
template <Fn fn, bool mean = false>
void import_variadic(NodeImport& n) {
  if (n.input_count() == 0) return n.invalid("there are no inputs");
  check_same_types(n);
  const DType type = numeric_type(n, 0);
  Formula f;
  Expr result = f.input(type);
  for (size_t k = 1; k < n.input_count(); ++k) result = apply(fn, result, f.input(type));
  if (mean) result = result / static_cast<double>(n.input_count());
  n.output(0, n.input_count() == 1 ? n.input(0) : n.pointwise(f.program(result), n.inputs()));
}

void import_where(NodeImport& n) {
  if (numeric_type(n, 0) != DType::boolean) n.invalid("the condition is {}", name(numeric_type(n, 0)));
  if (const DType a = numeric_type(n, 1), b = numeric_type(n, 2); a != b)
    n.invalid("inputs are {} and {}", name(a), name(b));
  import_function<Fn::where>(n);
}

// A bound of Clip: constant when it is known now, else an input of the program.
Expr clip_bound(NodeImport& n, Formula& f, DType type, size_t k, std::vector<ValueId>& inputs) {
  const Tensor& value = n.constant(n.input(k));
  // A wide integer may not fit the constant's double.
  if (value.defined() && value.type() == type && value.count() == 1 && size_of(type) < 8)
    return f.constant(value.at(0), type);
  inputs.push_back(n.input(k));
  return f.input(n.type(n.input(k)).dtype);
}

void output_clip(NodeImport& n, Formula& f, Expr x, const std::optional<Expr>& low, const std::optional<Expr>& high,
                 std::vector<ValueId> inputs) {
  if (!low && !high) return n.output(0, n.input(0));
  const Expr result = low && high ? apply(Fn::clip, x, *low, *high)
                      : low       ? apply(Fn::max, x, *low)
                                  : apply(Fn::min, x, *high);
  n.output(0, n.pointwise(f.program(result), std::move(inputs)));
}

void import_clip(NodeImport& n) {
  const DType type = numeric_type(n, 0);
  if (n.failed()) return;
  Formula f;
  const Expr x = f.input(type);
  std::vector<ValueId> inputs{n.input(0)};
  std::optional<Expr> low, high;
  if (n.opset() < 11) {
    if (n.has("min")) low = x.like(n.f("min"));
    if (n.has("max")) high = x.like(n.f("max"));
  } else {
    if (n.has_input(1)) low = clip_bound(n, f, type, 1, inputs);
    if (n.has_input(2)) high = clip_bound(n, f, type, 2, inputs);
  }
  output_clip(n, f, x, low, high, std::move(inputs));
}

void import_is_inf(NodeImport& n) {
  const bool positive = n.i("detect_positive", 1) != 0, negative = n.i("detect_negative", 1) != 0;
  output_unary(n, [&](Expr x) {
    const Expr infinite = apply(Fn::is_inf, x);
    if (positive && negative) return infinite;
    if (!positive && !negative) return apply(Fn::logical_and, infinite, infinite.like(0));
    return apply(Fn::logical_and, infinite, apply(positive ? Fn::greater : Fn::less, x, 0));
  });
}

template <Fn fn>
void import_alpha(NodeImport& n) {
  const double alpha = n.f("alpha", fn == Fn::leaky_relu ? 0.01f : 1);
  output_unary(n, [&](Expr x) { return apply(fn, x, alpha); });
}

void import_prelu(NodeImport& n) {
  check_same_types(n);
  if (n.failed()) return;
  const Shape &x = n.type(n.input(0)).shape, &slope = n.type(n.input(1)).shape;
  // Before opset 7 the slope holds one number for all or one for each channel.
  if (n.opset() < 7 && x.rank() > 2 && slope.rank() == 1 && slope.dims[0] != Dim(1)) {
    std::vector<int64_t> dims(static_cast<size_t>(x.rank() - 1), 1);
    dims[0] = -1;
    return n.output(0, n.pointwise(Fn::prelu, {n.input(0), n.reshape(n.input(1), dims)}));
  }
  const auto both = broadcast(x, slope);
  if (!both.ok()) return n.fail(both.status());
  // The slope may only broadcast to x, not x to the slope.
  bool fits = !x.ranked || !slope.ranked || slope.rank() <= x.rank();
  if (x.known() && both->known()) fits = fits && x == *both;
  if (!fits)
    return n.invalid("slope {} does not broadcast to {}", to_text(n.type(n.input(1))), to_text(n.type(n.input(0))));
  n.output(0, n.pointwise(Fn::prelu, n.inputs()));
}

void import_selu(NodeImport& n) {
  const double alpha = n.f("alpha", 1.67326319217681884765625), gamma = n.f("gamma", 1.05070102214813232421875);
  output_unary(n, [&](Expr x) { return gamma * apply(Fn::elu, x, alpha); });
}

void import_thresholded_relu(NodeImport& n) {
  const double alpha = n.f("alpha", 1);
  output_unary(n, [&](Expr x) { return where(apply(Fn::greater, x, alpha), x, x.like(0)); });
}

void import_hard_sigmoid(NodeImport& n) {
  const double alpha = n.f("alpha", 0.2f), beta = n.f("beta", 0.5);
  output_unary(n, [&](Expr x) { return apply(Fn::hard_sigmoid, x, alpha, beta); });
}

void import_gelu(NodeImport& n) {
  const std::string approximate = n.s("approximate", "none");
  if (approximate != "none" && approximate != "tanh") return n.invalid("approximate '{}' is unknown", approximate);
  output_unary(n, [&](Expr x) { return apply(approximate == "tanh" ? Fn::gelu_tanh : Fn::gelu_erf, x); });
}

void import_swish(NodeImport& n) {
  const double alpha = n.f("alpha", 1);
  output_unary(n, [&](Expr x) { return alpha == 1 ? apply(Fn::silu, x) : x * apply(Fn::sigmoid, alpha * x); });
}

// x + bias below -lambd, x - bias above lambd, else 0; integers go through doubles.
void import_shrink(NodeImport& n) {
  const double lambd = n.f("lambd", 0.5), bias = n.f("bias", 0);
  output_unary(n, [&](Expr input) {
    const bool whole = is_integer(input.type());
    const Expr x = whole ? cast(input, DType::f64) : input;
    const Expr upper = where(apply(Fn::greater, x, lambd), x - bias, x.like(0));
    const Expr result = where(apply(Fn::less, x, -lambd), x + bias, upper);
    return whole ? cast(result, input.type()) : result;
  });
}

void import_bit_shift(NodeImport& n) {
  const std::string direction = n.s("direction");
  if (direction != "LEFT" && direction != "RIGHT")
    return n.invalid("direction '{}' is neither LEFT nor RIGHT", direction);
  check_same_types(n);
  n.output(0, n.pointwise(direction == "LEFT" ? Fn::shift_left : Fn::shift_right, n.inputs()));
}

constexpr ImporterRow kRows[] = {
    {"Add", import_same<Fn::add>},
    {"Sub", import_same<Fn::sub>},
    {"Mul", import_same<Fn::mul>},
    {"Div", import_same<Fn::div>},
    {"Pow", import_pow},
    {"Mod", import_mod},
    {"Min", import_variadic<Fn::min>},
    {"Max", import_variadic<Fn::max>},
    {"Sum", import_variadic<Fn::add>},
    {"Mean", import_variadic<Fn::add, true>},
    {"And", import_same<Fn::logical_and>},
    {"Or", import_same<Fn::logical_or>},
    {"Xor", import_same<Fn::logical_xor>},
    {"Not", import_same<Fn::logical_not>},
    {"Equal", import_same<Fn::equal>},
    {"Less", import_same<Fn::less>},
    {"LessOrEqual", import_same<Fn::less_equal>},
    {"Greater", import_same<Fn::greater>},
    {"GreaterOrEqual", import_same<Fn::greater_equal>},
    {"Where", import_where},
    {"Clip", import_clip},
    {"Neg", import_same<Fn::neg>},
    {"Abs", import_same<Fn::abs>},
    {"Sign", import_same<Fn::sign>},
    {"Reciprocal", import_same<Fn::reciprocal>},
    {"Sqrt", import_same<Fn::sqrt>},
    {"Exp", import_same<Fn::exp>},
    {"Log", import_same<Fn::log>},
    {"Sin", import_same<Fn::sin>},
    {"Cos", import_same<Fn::cos>},
    {"Tan", import_same<Fn::tan>},
    {"Asin", import_same<Fn::asin>},
    {"Acos", import_same<Fn::acos>},
    {"Atan", import_same<Fn::atan>},
    {"Sinh", import_same<Fn::sinh>},
    {"Cosh", import_same<Fn::cosh>},
    {"Tanh", import_same<Fn::tanh>},
    {"Asinh", import_same<Fn::asinh>},
    {"Acosh", import_same<Fn::acosh>},
    {"Atanh", import_same<Fn::atanh>},
    {"Erf", import_same<Fn::erf>},
    {"Floor", import_same<Fn::floor>},
    {"Ceil", import_same<Fn::ceil>},
    {"Round", import_same<Fn::round>},
    {"IsNaN", import_same<Fn::is_nan>},
    {"IsInf", import_is_inf},
    {"Relu", import_same<Fn::relu>},
    {"LeakyRelu", import_alpha<Fn::leaky_relu>},
    {"PRelu", import_prelu},
    {"Elu", import_alpha<Fn::elu>},
    {"Celu", import_alpha<Fn::celu>},
    {"Selu", import_selu},
    {"ThresholdedRelu", import_thresholded_relu},
    {"HardSigmoid", import_hard_sigmoid},
    {"HardSwish", import_same<Fn::hard_swish>},
    {"Sigmoid", import_same<Fn::sigmoid>},
    {"Softplus", import_same<Fn::softplus>},
    {"Softsign", import_same<Fn::softsign>},
    {"Mish", import_same<Fn::mish>},
    {"Gelu", import_gelu},
    {"Swish", import_swish},
    {"Shrink", import_shrink},
    {"BitShift", import_bit_shift},
    {"BitwiseAnd", import_same<Fn::bit_and>},
    {"BitwiseOr", import_same<Fn::bit_or>},
    {"BitwiseXor", import_same<Fn::bit_xor>},
    {"BitwiseNot", import_same<Fn::bit_not>},
};

}  // namespace

std::span<const ImporterRow> elementwise_importers() { return kRows; }

}  // namespace hone::import_onnx
