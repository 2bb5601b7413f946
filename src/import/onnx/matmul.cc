#include "ops/matmul.h"

#include <cmath>

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

void import_matmul(NodeImport& n) { n.output(0, n.add(MatMul{}, {n.input(0), n.input(1)})); }

// x * factor in x's type; integer types only take whole factors.
ValueId scaled(NodeImport& n, ValueId x, double factor) {
  if (factor == 1 || n.failed()) return x;
  const DType type = n.type(x).dtype;
  if (is_integer(type) && factor != std::floor(factor)) n.unsupported("a factor of {} for {}", factor, name(type));
  return n.pointwise(Fn::mul, {x, n.scalar(factor, type)});
}

// C as a bias vector of as many elements as the product has columns, or none when it is of another shape.
ValueId as_bias(NodeImport& n, ValueId c, const Dim& columns) {
  const Shape& shape = n.type(c).shape;
  if (!shape.ranked || shape.dims.empty() || shape.dims.size() > 2 || !columns.known() || shape.dims.back() != columns)
    return ValueId::none;
  if (shape.dims.size() == 1) return c;
  return shape.dims[0] == Dim(1) ? n.reshape(c, {columns.value}) : ValueId::none;
}

void import_gemm(NodeImport& n) {
  const ValueId a = n.input(0);
  ValueId b = n.input(1);
  const MatMul op{.trans_a = n.i("transA") != 0, .trans_b = n.i("transB") != 0};
  double alpha = n.f("alpha", 1);
  if (n.failed()) return;
  const Shape& b_shape = n.type(b).shape;
  if (b_shape.ranked && b_shape.rank() != 2) return n.invalid("B is {}, expected a matrix", to_text(n.type(b)));
  const Dim columns = b_shape.ranked ? b_shape.dims[op.trans_b ? 0 : 1] : Dim();
  // alpha costs nothing in constant weights.
  if (n.constant(b).defined()) {
    b = scaled(n, b, alpha);
    alpha = 1;
  }
  if (n.opset() < 7 && n.i("broadcast") == 0 && n.has_input(2) && n.type(n.input(2)).shape.rank() != 2)
    return n.invalid("C is {} without attribute 'broadcast'", to_text(n.type(n.input(2))));
  n.ignore({"beta"});  // means nothing without C
  const ValueId c = n.has_input(2) ? scaled(n, n.input(2), n.f("beta", 1)) : ValueId::none;
  if (n.failed()) return;
  const ValueId bias = c != ValueId::none && alpha == 1 ? as_bias(n, c, columns) : ValueId::none;
  if (bias != ValueId::none) return n.output(0, n.add(op, {a, b, bias}));
  const ValueId product = scaled(n, n.add(op, {a, b}), alpha);
  n.output(0, c == ValueId::none ? product : n.pointwise(Fn::add, {product, c}));
}

}  // namespace

std::span<const ImporterRow> matmul_importers() {
  static constexpr ImporterRow kRows[] = {{"MatMul", import_matmul}, {"Gemm", import_gemm}};
  return kRows;
}

}  // namespace hone::import_onnx
