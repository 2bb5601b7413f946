#include "import/onnx/integer.h"

#include <algorithm>

#include "import/onnx/formula.h"
#include "import/onnx/importer.h"
#include "import/onnx/pads.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/quantize.h"

namespace hone::import_onnx {
namespace {

// x - zero point in i32, exactly. `shape`, when given, is what the zero point is reshaped to.
ValueId centred(NodeImport& n, ValueId x, ValueId zero, const std::vector<int64_t>& shape) {
  const ValueId wide = n.cast(x, DType::i32);
  if (zero == ValueId::none) return wide;
  ValueId offset = n.cast(zero, DType::i32);
  if (!shape.empty()) offset = n.reshape(offset, shape);
  return n.pointwise(Fn::sub, {wide, offset});
}

bool is_vector(NodeImport& n, ValueId v) {
  const Shape& shape = n.type(v).shape;
  return shape.rank() == 1 && shape.dims[0] != Dim(1);
}

Conv conv_of(NodeImport& n, ValueId x, ValueId w) {
  const size_t spatial = spatial_rank(n, std::vector{x, w});
  if (n.failed()) return {};
  const WindowAttributes a = window_attributes(n, x, filter_kernel(n, w, spatial));
  return {.strides = a.strides, .dilations = a.dilations, .pads = a.pads, .groups = n.i("group", 1)};
}

// Constant weights of 8 bits in i8. `zeros` is what is left of their zero points where i8 does not hold the weights
// without them, else undefined.
struct ByteWeights {
  Tensor values, zeros;
  Tensor sums;  // of each output channel's weights without their zero points
};

bool is_byte(DType type) { return type == DType::i8 || type == DType::u8; }

// Of a product with x. Element i belongs to output channel i / inner % channels. Nothing where weights or zero points
// are not constant.
std::optional<ByteWeights> byte_weights(NodeImport& n, ValueId x, ValueId w, ValueId zero, int64_t channels,
                                        int64_t inner) {
  if (!is_byte(n.type(x).dtype) || !is_byte(n.type(w).dtype)) return std::nullopt;
  const Tensor &from = n.constant(w), &given = n.constant(zero);
  const bool vector = given.defined() && given.count() == channels;
  if (!from.defined() || from.count() == 0 || (zero != ValueId::none && !given.defined())) return std::nullopt;
  if (given.defined() && given.count() != 1 && !vector) return std::nullopt;
  const auto channel = [&](int64_t i) { return i / inner % channels; };
  const auto zero_of = [&](int64_t c) { return given.defined() ? given.int_at(vector ? c : 0) : 0; };
  ByteWeights out{Tensor(DType::i8, from.dims()), {}, Tensor(DType::i32, {channels})};
  std::vector<int64_t> sums(static_cast<size_t>(channels));
  bool held = true;
  for (int64_t i = 0; i < from.count(); ++i) {
    const int64_t value = from.int_at(i) - zero_of(channel(i));
    held = held && value >= -128 && value <= 127;
    sums[static_cast<size_t>(channel(i))] += value;
  }
  const int64_t shift = from.type() == DType::u8 ? 128 : 0;
  for (int64_t i = 0; i < from.count(); ++i)
    out.values.set_int(i, from.int_at(i) - (held ? zero_of(channel(i)) : shift));
  for (int64_t c = 0; c < channels; ++c) out.sums.set_int(c, sums[static_cast<size_t>(c)]);
  if (held) return out;
  out.zeros = Tensor(DType::i32, {channels});
  for (int64_t c = 0; c < channels; ++c) out.zeros.set_int(c, zero_of(c) - shift);
  return out;
}

// sum of (x - x_zero) * (w - w_zero), as the sum of x * w less what the zero points add to it: by channel, and by row.
// `all` has ones for weights, `spread` is the shape of what belongs to a channel.
ValueId byte_product(NodeImport& n, const Op& op, ValueId x, ValueId x_zero, const ByteWeights& w, Tensor all,
                     const std::vector<int64_t>& spread) {
  const auto by_channel = [&](const Tensor& values) {
    return n.pointwise(Fn::neg, {n.reshape(n.constant(values), spread)});
  };
  const auto plus_product = [&](ValueId sums, ValueId a, ValueId b) {
    const auto type = name(n.type(a).dtype);
    return n.pointwise(Fn::add,
                       {sums, formula(n, fmt::format("in0:{}; cast:i32(0); in1:i32; mul:i32(1,2)", type), {a, b})});
  };
  ValueId sums = n.add(op, {x, n.constant(w.values)});
  if (x_zero != ValueId::none) sums = plus_product(sums, x_zero, by_channel(w.sums));
  if (w.zeros.defined()) sums = plus_product(sums, n.add(op, {x, n.constant(std::move(all))}), by_channel(w.zeros));
  return sums;
}

Tensor ones(const Dims& dims) {
  Tensor t(DType::i8, dims);
  std::fill_n(t.mutable_data<int8_t>(), t.count(), int8_t{1});
  return t;
}

// Padding stands for 0, which is x's zero point: it is put around x, and taken out of `op`.
ValueId padded(NodeImport& n, ValueId x, ValueId zero, Conv& op) {
  if (zero == ValueId::none || std::all_of(op.pads.begin(), op.pads.end(), [](int64_t p) { return p == 0; })) return x;
  std::vector<int64_t> pads(2, 0);
  pads.insert(pads.end(), op.pads.begin(), op.pads.begin() + static_cast<std::ptrdiff_t>(op.pads.size() / 2));
  pads.insert(pads.end(), 2, 0);
  pads.insert(pads.end(), op.pads.begin() + static_cast<std::ptrdiff_t>(op.pads.size() / 2), op.pads.end());
  op.pads.assign(op.pads.size(), 0);
  return n.add(Pad{}, {x, n.ints(pads), n.reshape(zero, {})});
}

void import_conv_integer(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(1), x_zero = n.input(2), w_zero = n.input(3);
  Conv op = conv_of(n, x, w);
  if (n.failed()) return;
  const Dims dims = n.constant(w).dims();
  const int64_t filter = dims.empty() || dims[0] == 0 ? 1 : element_count(dims) / dims[0];
  const auto weights = byte_weights(n, x, w, w_zero, dims.empty() ? 0 : dims[0], filter);
  // Sums of the window are one for all channels, or each channel has its own: more groups than one need others.
  const bool depthwise = !dims.empty() && op.groups == dims[0];
  if (weights && (op.groups == 1 || depthwise || !weights->zeros.defined())) {
    std::vector<int64_t> spread(op.strides.size() + 1, 1);
    spread[0] = -1;
    Dims all = dims;
    if (!depthwise) all[0] = 1;
    const ValueId around = padded(n, x, x_zero, op);
    return n.output(0, byte_product(n, op, around, x_zero, *weights, ones(all), spread));
  }
  std::vector<int64_t> by_filter;
  if (w_zero != ValueId::none && is_vector(n, w_zero)) {
    by_filter.assign(op.strides.size() + 2, 1);
    by_filter[0] = -1;
  }
  n.output(0, n.add(op, {centred(n, x, x_zero, {}), centred(n, w, w_zero, by_filter)}));
}

}  // namespace

ValueId integer_matmul(NodeImport& n, ValueId a, ValueId b, ValueId a_zero, ValueId b_zero) {
  if (n.failed()) return ValueId::none;
  const std::vector<int64_t> by_row =
      a_zero != ValueId::none && is_vector(n, a_zero) ? std::vector<int64_t>{-1, 1} : std::vector<int64_t>();
  const Dims dims = n.constant(b).dims();
  const auto weights = dims.size() == 2 ? byte_weights(n, a, b, b_zero, dims[1], 1) : std::nullopt;
  if (!weights) return n.add(MatMul{}, {centred(n, a, a_zero, by_row), centred(n, b, b_zero, {})});
  const ValueId zero = by_row.empty() ? a_zero : n.reshape(a_zero, by_row);
  return byte_product(n, MatMul{}, a, zero, *weights, ones({dims[0], 1}), {-1});
}

ValueId dequantized(NodeImport& n, ValueId x, ValueId scale, ValueId zero, int64_t axis) {
  scale = n.cast(scale, DType::f32);
  if (n.failed()) return ValueId::none;
  if (n.type(scale).shape.rank() <= 1) return n.add(Dequantize{.axis = axis}, {x, scale, zero});
  ValueId centre = n.cast(x, DType::f32);
  if (zero != ValueId::none) centre = n.pointwise(Fn::sub, {centre, n.cast(zero, DType::f32)});
  return n.pointwise(Fn::mul, {centre, scale});
}

namespace {

void import_matmul_integer(NodeImport& n) {
  n.output(0, integer_matmul(n, n.input(0), n.input(1), n.input(2), n.input(3)));
}

// The quantised operators are their float ones between dequantisation and quantisation, which is the form that later
// stages know how to run in integers.
void import_qlinear_conv(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(3);
  const Conv op = conv_of(n, x, w);
  std::vector<ValueId> inputs{dequantized(n, x, n.input(1), n.input(2), 1),
                              dequantized(n, w, n.input(4), n.input(5), 0)};
  if (n.has_input(8)) {
    const ValueId scale = n.pointwise(Fn::mul, {n.input(1), n.input(4)});
    inputs.push_back(n.add(Dequantize{.axis = 0}, {n.input(8), scale}));
  }
  n.output(0, n.add(Quantize{.type = n.type(n.input(7)).dtype}, {n.add(op, inputs), n.input(6), n.input(7)}));
}

void import_qlinear_matmul(NodeImport& n) {
  const ValueId a = n.input(0), b = n.input(3);
  const int64_t rows = std::max<int64_t>(n.rank(a) - 2, 0), columns = std::max<int64_t>(n.rank(b) - 1, 0);
  const ValueId left = dequantized(n, a, n.input(1), n.input(2), rows),
                right = dequantized(n, b, n.input(4), n.input(5), columns);
  const ValueId scale = n.cast(n.input(6), DType::f32);
  n.output(0, n.add(Quantize{.type = n.type(n.input(7)).dtype}, {n.add(MatMul{}, {left, right}), scale, n.input(7)}));
}

}  // namespace

std::span<const ImporterRow> integer_importers() {
  static constexpr ImporterRow kRows[] = {
      {"ConvInteger", import_conv_integer, 10},
      {"MatMulInteger", import_matmul_integer, 10},
      {"QLinearConv", import_qlinear_conv, 10},
      {"QLinearMatMul", import_qlinear_matmul, 10},
  };
  return kRows;
}

}  // namespace hone::import_onnx
