#include "ops/quantize.h"

#include <algorithm>
#include <cmath>

#include "ops/eval.h"
#include "ops/table.h"

namespace hone {
namespace {

// Which scale belongs to which element: the elements are [outer][dim][inner], the scales [outer][blocks][inner].
struct Layout {
  int64_t outer = 1, dim = 1, inner = 1;
  int64_t block = 0;  // 0: one scale for an index of the axis
  bool per_tensor = true;

  int64_t scale_index(int64_t o, int64_t d, int64_t i) const {
    if (per_tensor) return 0;
    if (block == 0) return d;
    return (o * ((dim + block - 1) / block) + d / block) * inner + i;
  }
};

Result<Layout> layout_of(const Dims& x, const Dims& scale, int64_t axis, int64_t block) {
  if (block < 0) return invalid("block size {} is negative", block);
  const auto rank = static_cast<int64_t>(x.size());
  if (block == 0 && scale.size() <= 1 && element_count(scale) == 1) return Layout{.outer = element_count(x)};
  if (axis < -rank || axis >= rank) return invalid("quantisation axis {} of rank {}", axis, rank);
  const auto at = static_cast<size_t>(axis < 0 ? axis + rank : axis);
  Layout layout{.dim = x[at], .block = block, .per_tensor = false};
  for (size_t d = 0; d < x.size(); ++d) {
    if (d < at) layout.outer *= x[d];
    if (d > at) layout.inner *= x[d];
  }
  Dims expected{x[at]};
  if (block > 0) {
    expected = x;
    expected[at] = x[at] / block + (x[at] % block != 0);
  }
  if (scale != expected)
    return invalid("scale {} of {} with axis {} and block {}", to_string(scale), to_string(x), axis, block);
  return layout;
}

Status check_types(const InferArgs& args, int64_t axis, int64_t block) {
  if (!args.has(0) || !args.has(1)) return invalid("needs an input and a scale");
  const auto &x = args.type(0), &scale = args.type(1);
  if (!is_float(x.dtype) && !is_integer(x.dtype)) return invalid("cannot work on {}", name(x.dtype));
  if (!is_float(scale.dtype)) return invalid("scale is {}", name(scale.dtype));
  const auto dims = x.shape.concrete(), scales = scale.shape.concrete();
  if (dims && scales) HONE_CHECK(layout_of(*dims, *scales, axis, block));
  const auto zeros = args.type(2).shape.concrete();
  if (args.has(2) && zeros && scales && element_count(*zeros) != element_count(*scales))
    return invalid("zero point {} beside scale {}", to_string(*zeros), to_string(*scales));
  return {};
}

// Calls f(element, scale element) for every element of x.
template <class F>
void for_each_scaled(const Layout& layout, F&& f) {
  int64_t at = 0;
  for (int64_t o = 0; o < layout.outer; ++o)
    for (int64_t d = 0; d < layout.dim; ++d)
      for (int64_t i = 0; i < layout.inner; ++i) f(at++, layout.scale_index(o, d, i));
}

double quotient(DType precision, double x, double scale) {
  switch (precision) {
    case DType::f64: return x / scale;
    case DType::f16: return to_float(to_f16(to_float(to_f16(x)) / static_cast<double>(to_float(to_f16(scale)))));
    case DType::bf16: return to_float(to_bf16(to_float(to_bf16(x)) / static_cast<double>(to_float(to_bf16(scale)))));
    default: return static_cast<float>(x) / static_cast<float>(scale);
  }
}

std::pair<double, double> integer_range(DType type) {
  const int bits = type == DType::i2 || type == DType::u2   ? 2
                   : type == DType::i4 || type == DType::u4 ? 4
                                                            : 8 * static_cast<int>(size_of(type));
  if (is_signed(type)) return {-std::ldexp(1.0, bits - 1), std::ldexp(1.0, bits - 1) - 1};
  return {0, std::ldexp(1.0, bits) - 1};
}

// Zero points that are there, checked against the scale.
Result<std::vector<double>> zero_points(const EvalArgs& args) {
  if (!args.has(2)) return std::vector<double>(static_cast<size_t>(args[1].count()), 0.0);
  if (args[2].count() != args[1].count())
    return invalid("zero point {} beside scale {}", to_string(args[2].dims()), to_string(args[1].dims()));
  return args[2].to_doubles();
}

}  // namespace

Result<Types> Quantize::infer(const InferArgs& args) const {
  HONE_CHECK(check_types(args, axis, block));
  const bool small_float = is_float(type) && size_of(type) == 1 && type != DType::f8e8m0;
  if (!small_float && (!is_integer(type) || size_of(type) > 4)) return invalid("cannot quantise to {}", name(type));
  if (precision != DType::none && (!is_float(precision) || size_of(precision) == 1))
    return invalid("cannot divide in {}", name(precision));
  return Types{{type, args.type(0).shape}};
}

Result<Tensors> Quantize::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Layout layout, layout_of(args[0].dims(), args[1].dims(), axis, block));
  HONE_TRY(const std::vector<double> zeros, zero_points(args));
  const std::vector<double> scales = args[1].to_doubles();
  const DType divide_in = precision == DType::none ? args[1].type() : precision;
  Tensor out(type, args[0].dims());
  if (is_float(type)) {
    auto* bytes = out.mutable_data<uint8_t>();
    for_each_scaled(layout, [&](int64_t i, int64_t s) {
      bytes[i] = encode_small(
          type, quotient(divide_in, args[0].at(i), scales[static_cast<size_t>(s)]) + zeros[static_cast<size_t>(s)],
          saturate);
    });
    return Tensors{out};
  }
  const auto [low, high] = integer_range(type);
  for_each_scaled(layout, [&, low = low, high = high](int64_t i, int64_t s) {
    const double q = std::nearbyint(quotient(divide_in, args[0].at(i), scales[static_cast<size_t>(s)])) +
                     zeros[static_cast<size_t>(s)];
    out.set_int(i, std::isnan(q) ? 0 : static_cast<int64_t>(std::clamp(q, low, high)));
  });
  return Tensors{out};
}

Result<Types> Dequantize::infer(const InferArgs& args) const {
  HONE_CHECK(check_types(args, axis, block));
  if (!is_float(type)) return invalid("cannot dequantise to {}", name(type));
  if (args.has(2) && args.type(2).dtype != args.type(0).dtype)
    return invalid("zero point is {}, input {}", name(args.type(2).dtype), name(args.type(0).dtype));
  return Types{{type, args.type(0).shape}};
}

Result<Tensors> Dequantize::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Layout layout, layout_of(args[0].dims(), args[1].dims(), axis, block));
  HONE_TRY(const std::vector<double> zeros, zero_points(args));
  const std::vector<double> scales = args[1].to_doubles();
  Tensor out(type, args[0].dims());
  for_each_scaled(layout, [&](int64_t i, int64_t s) {
    out.set(i, (args[0].at(i) - zeros[static_cast<size_t>(s)]) * scales[static_cast<size_t>(s)]);
  });
  return Tensors{out};
}

Result<Types> DynamicQuantize::infer(const InferArgs& args) const {
  if (!args.has(0) || args.type(0).dtype != DType::f32)
    return invalid("cannot find the range of {}", args.has(0) ? name(args.type(0).dtype) : "nothing");
  return Types{{DType::u8, args.type(0).shape}, {DType::f32, Shape::of({})}, {DType::u8, Shape::of({})}};
}

Result<Tensors> DynamicQuantize::evaluate(const EvalArgs& args) const {
  const Types types = types_of(args);
  HONE_CHECK(infer({types, {}, 3}));
  const Tensor& x = args[0];
  const auto* values = x.data<float>();
  float low = 0, high = 0;
  for (int64_t i = 0; i < x.count(); ++i) {
    low = std::isnan(low) || values[i] >= low ? low : values[i];  // NaN stays
    high = std::isnan(high) || values[i] <= high ? high : values[i];
  }
  const float range = high - low;
  const Tensor scale = Tensor::scalar(range == 0 ? 1.0 : static_cast<double>(range / 255), DType::f32);
  const float offset = -low / scale.data<float>()[0];
  Tensor zero(DType::u8, {});
  zero.set_int(0, std::isnan(offset) ? 0 : static_cast<int64_t>(std::nearbyint(std::clamp(offset, 0.0F, 255.0F))));
  const Tensors inputs{x, scale, zero};
  HONE_TRY(Tensors result, Quantize{}.evaluate({inputs, 1}));
  result.push_back(scale);
  result.push_back(zero);
  return result;
}

std::span<const OpRow> quantize_ops() {
  static constexpr OpRow kRows[] = {op_row<Quantize>(), op_row<Dequantize>(), op_row<DynamicQuantize>()};
  return kRows;
}

}  // namespace hone
