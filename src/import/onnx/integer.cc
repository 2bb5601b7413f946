#include "import/onnx/importer.h"
#include "import/onnx/pads.h"
#include "ops/conv.h"
#include "ops/matmul.h"
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

void import_conv_integer(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(1), w_zero = n.input(3);
  const Conv op = conv_of(n, x, w);
  std::vector<int64_t> by_filter;
  if (w_zero != ValueId::none && is_vector(n, w_zero)) {
    by_filter.assign(op.strides.size() + 2, 1);
    by_filter[0] = -1;
  }
  n.output(0, n.add(op, {centred(n, x, n.input(2), {}), centred(n, w, w_zero, by_filter)}));
}

void import_matmul_integer(NodeImport& n) {
  const ValueId a_zero = n.input(2);
  const std::vector<int64_t> by_row =
      a_zero != ValueId::none && is_vector(n, a_zero) ? std::vector<int64_t>{-1, 1} : std::vector<int64_t>();
  n.output(0, n.add(MatMul{}, {centred(n, n.input(0), a_zero, by_row), centred(n, n.input(1), n.input(3), {})}));
}

// (x - zero) * scale in f32, with one scale, or one for each element of `axis`, or scales that broadcast to x.
ValueId dequantized(NodeImport& n, ValueId x, ValueId scale, ValueId zero, int64_t axis) {
  scale = n.cast(scale, DType::f32);
  if (n.failed()) return ValueId::none;
  if (n.type(scale).shape.rank() <= 1) return n.add(Dequantize{.axis = axis}, {x, scale, zero});
  const ValueId centre = n.pointwise(Fn::sub, {n.cast(x, DType::f32), n.cast(zero, DType::f32)});
  return n.pointwise(Fn::mul, {centre, scale});
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
