// Operators of ONNX Runtime's own, in the domain com.microsoft, that its quantisation and its fusions write. Quantised
// ones are the float ones between dequantisation and quantisation, the form that later stages run in integers.
#include <numeric>

#include "base/counted.h"
#include "import/onnx/integer.h"
#include "import/onnx/pads.h"
#include "ops/gather.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/quantize.h"
#include "ops/reduce.h"

namespace hone::import_onnx {
namespace {

constexpr std::string_view kDomain = "com.microsoft";

// Inputs k to k + 2 are values of 8 bits, their scale, and their zero point, which may be absent.
ValueId real_input(NodeImport& n, size_t k) { return dequantized(n, n.input(k), n.input(k + 1), n.input(k + 2), 1); }

// Inputs k and k + 1 are the scale and the zero point of the output, whose type is that of `like` without the latter.
void quantized_output(NodeImport& n, ValueId y, size_t k, size_t like = 0) {
  const DType type = n.type(n.has_input(k + 1) ? n.input(k + 1) : n.input(like)).dtype;
  n.output(0, n.add(Quantize{.type = type}, {y, n.input(k), n.input(k + 1)}));
}

template <Fn fn>
void import_binary(NodeImport& n) {
  quantized_output(n, n.pointwise(fn, {real_input(n, 0), real_input(n, 3)}), 6);
}

void import_sigmoid(NodeImport& n) { quantized_output(n, n.pointwise(Fn::sigmoid, {real_input(n, 0)}), 3); }

void import_leaky_relu(NodeImport& n) {
  const ValueId slope = n.scalar(n.f("alpha", 0.01), DType::f32);
  quantized_output(n, n.pointwise(Fn::leaky_relu, {real_input(n, 0), slope}), 3);
}

void import_softmax(NodeImport& n) {
  const ValueId x = n.input(0);
  const int64_t opset = n.i("opset", 13), rank = n.rank(x), axis = n.axis(n.i("axis", -1), rank);
  // Before opset 13 the dims from the axis on count as one.
  if (opset < 13 && axis != rank - 1) return n.unsupported("a softmax of opset {} over axis {}", opset, axis);
  quantized_output(n, n.add(Softmax{.axis = axis}, {real_input(n, 0)}), 3);
}

void import_global_average_pool(NodeImport& n) {
  const int64_t rank = n.rank(n.input(0));
  if (!n.failed() && rank < 3) return n.invalid("{} has no spatial dims", to_text(n.type(n.input(0))));
  std::vector<int64_t> axes(static_cast<size_t>(std::max<int64_t>(rank - 2, 0)));
  std::iota(axes.begin(), axes.end(), n.i("channels_last") != 0 ? 1 : 2);
  quantized_output(n, n.add(Reduce{.kind = "mean"}, {real_input(n, 0), n.ints(axes)}), 3);
}

void import_average_pool(NodeImport& n) {
  if (n.i("channels_last") != 0) return n.unsupported("pooling of channels-last tensors");
  WindowAttributes a = window_attributes(n, n.input(0), n.ints("kernel_shape"));
  const Pool op{.kind = "average",
                .kernel = std::move(a.kernel),
                .strides = std::move(a.strides),
                .dilations = std::move(a.dilations),
                .pads = std::move(a.pads),
                .ceil_mode = n.i("ceil_mode") != 0,
                .count_include_pad = n.i("count_include_pad") != 0};
  quantized_output(n, n.add(op, {real_input(n, 0)}), 3);
}

void import_reduce_mean(NodeImport& n) {
  const Reduce op{.kind = "mean", .keep_dims = n.i("keepdims", 1) != 0};
  quantized_output(n, n.add(op, {real_input(n, 0), n.ints(n.ints("axes"))}), 3);
}

void import_concat(NodeImport& n) {
  if (n.input_count() < 5 || n.input_count() % 3 != 2)
    return n.invalid("{} are no scale, zero point and triples", counted(n.input_count(), "input"));
  if (!n.has("axis")) return n.invalid("attribute 'axis' is missing");
  std::vector<ValueId> parts;
  for (size_t k = 2; k < n.input_count(); k += 3) parts.push_back(real_input(n, k));
  quantized_output(n, n.add(Concat{.axis = n.i("axis")}, parts), 0, 2);
}

void import_where(NodeImport& n) {
  quantized_output(n, n.pointwise(Fn::where, {n.input(0), real_input(n, 1), real_input(n, 4)}), 7, 1);
}

// y = alpha * (a b + c), where c is of sums: alpha goes into the scale of b, and so into that of c.
void import_gemm(NodeImport& n) {
  const MatMul op{.trans_a = n.i("transA") != 0, .trans_b = n.i("transB") != 0};
  ValueId scale = n.input(4);
  if (const double alpha = n.f("alpha", 1); alpha != 1)
    scale = n.pointwise(Fn::mul, {scale, n.scalar(alpha, DType::f32)});
  const ValueId b = dequantized(n, n.input(3), scale, n.input(5), op.trans_b ? 0 : 1);
  std::vector<ValueId> inputs{real_input(n, 0), b};
  ValueId c = n.input(6);
  const int64_t rank = c == ValueId::none ? 0 : n.rank(c);
  if (n.failed()) return;
  const Shape shape = n.type(c).shape;
  const Dim columns = n.type(b).shape.rank() == 2 ? n.type(b).shape.dims[op.trans_b ? 0 : 1] : Dim();
  if (c != ValueId::none)
    c = n.add(Dequantize{.axis = std::max<int64_t>(rank - 1, 0)}, {c, n.pointwise(Fn::mul, {n.input(1), scale})});
  const bool by_column =
      rank > 0 && rank < 3 && columns.known() && shape.dims.back() == columns && (rank == 1 || shape.dims[0] == Dim(1));
  if (by_column) inputs.push_back(n.reshape(c, {columns.value}));
  ValueId y = n.add(op, inputs);
  if (c != ValueId::none && !by_column) y = n.pointwise(Fn::add, {y, c});
  n.has_input(7) ? quantized_output(n, y, 7) : n.output(0, y);
}

// f32(sums) * (scale * scale) + bias, in this order.
void scaled_output(NodeImport& n, ValueId sums, ValueId a_scale, ValueId b_scale, ValueId bias) {
  const ValueId scale = n.pointwise(Fn::mul, {a_scale, b_scale});
  const ValueId y = n.pointwise(Fn::mul, {n.cast(sums, DType::f32), scale});
  n.output(0, bias == ValueId::none ? y : n.pointwise(Fn::add, {y, bias}));
}

void import_dynamic_matmul(NodeImport& n) {
  const auto a = n.add(DynamicQuantize{}, {n.input(0)}, 3);
  scaled_output(n, integer_matmul(n, a[0], n.input(1), a[2], n.input(3)), a[1], n.input(2), n.input(4));
}

void import_matmul_to_float(NodeImport& n) {
  if (n.type(n.input(2)).dtype != DType::f32) return n.unsupported("scales in {}", name(n.type(n.input(2)).dtype));
  if (const Shape& scale = n.type(n.input(2)).shape; !scale.known() || element_count(*scale.concrete()) != 1)
    return n.unsupported("several scales of A");
  scaled_output(n, integer_matmul(n, n.input(0), n.input(1), n.input(4), n.input(5)), n.input(2), n.input(3),
                n.input(6));
}

// gelu(x + bias?).
template <Fn gelu>
void import_gelu(NodeImport& n) {
  const ValueId x = n.has_input(1) ? n.pointwise(Fn::add, {n.input(0), n.input(1)}) : n.input(0);
  n.output(0, n.pointwise(gelu, {x}));
}

// x * sigmoid(alpha * x)
void import_quick_gelu(NodeImport& n) {
  const ValueId x = n.input(0), alpha = n.scalar(n.f("alpha", 1.702), n.type(x).dtype);
  n.output(0, n.pointwise(Fn::mul, {x, n.pointwise(Fn::sigmoid, {n.pointwise(Fn::mul, {x, alpha})})}));
}

void import_fused_matmul(NodeImport& n) {
  if (n.i("transBatchA") != 0 || n.i("transBatchB") != 0) return n.unsupported("transposed batch dims");
  const MatMul op{.trans_a = n.i("transA") != 0, .trans_b = n.i("transB") != 0};
  const ValueId y = n.add(op, {n.input(0), n.input(1)});
  const double alpha = n.f("alpha", 1);
  if (n.failed()) return;
  n.output(0, alpha == 1 ? y : n.pointwise(Fn::mul, {y, n.scalar(alpha, n.type(y).dtype)}));
}

// The norm of input + skip + bias?, and that sum.
template <bool kRms>
void import_skip_norm(NodeImport& n) {
  if (n.has_output(1) || n.has_output(2)) return n.unsupported("outputs for training");
  const size_t bias = kRms ? 3 : 4;
  ValueId sum = n.pointwise(Fn::add, {n.input(0), n.input(1)});
  if (n.has_input(bias)) sum = n.pointwise(Fn::add, {sum, n.input(bias)});
  std::vector<ValueId> inputs{sum, n.input(2)};
  if (!kRms && n.has_input(3)) inputs.push_back(n.input(3));
  n.output(0, n.add(LayerNorm{.axis = -1, .epsilon = n.f("epsilon", 1e-12), .rms = kRms}, inputs));
  n.output(3, sum);
}

// The norm of a word's, its position's and its segment's vectors.
void import_embed_norm(NodeImport& n) {
  const ValueId ids = n.input(0);
  const Dims dims = n.dims(ids);
  if (!n.failed() && dims.size() != 2) n.invalid("{} are no rows of ids", to_text(n.type(ids)));
  if (n.failed()) return;
  ValueId position = n.input(8);
  if (position == ValueId::none) {
    std::vector<int64_t> places(static_cast<size_t>(dims[1]));
    std::iota(places.begin(), places.end(), 0);
    position = n.ints(places);
  }
  const auto rows = [&](size_t table, ValueId at) { return n.add(Gather{.axis = 0}, {n.input(table), at}); };
  ValueId sum = n.pointwise(Fn::add, {rows(2, ids), rows(3, position)});
  if (n.has_input(1) && n.has_input(4)) sum = n.pointwise(Fn::add, {sum, rows(4, n.input(1))});
  n.output(0, n.add(LayerNorm{.axis = -1, .epsilon = n.f("epsilon", 1e-12)}, {sum, n.input(5), n.input(6)}));
  if (n.has_output(1))
    n.output(1, n.has_input(7) ? n.add(Reduce{.kind = "sum", .keep_dims = false}, {n.input(7), n.ints({1})})
                               : n.constant(Tensor(DType::i32, {dims[0]})));
  n.output(2, sum);
}

}  // namespace

std::span<const ImporterRow> onnxruntime_importers() {
  static constexpr ImporterRow kRows[] = {
      {"QLinearAdd", import_binary<Fn::add>, 1, kDomain},
      {"QLinearMul", import_binary<Fn::mul>, 1, kDomain},
      {"QLinearSigmoid", import_sigmoid, 1, kDomain},
      {"QLinearLeakyRelu", import_leaky_relu, 1, kDomain},
      {"QLinearSoftmax", import_softmax, 1, kDomain},
      {"QLinearGlobalAveragePool", import_global_average_pool, 1, kDomain},
      {"QLinearAveragePool", import_average_pool, 1, kDomain},
      {"QLinearReduceMean", import_reduce_mean, 1, kDomain},
      {"QLinearConcat", import_concat, 1, kDomain},
      {"QLinearWhere", import_where, 1, kDomain},
      {"QGemm", import_gemm, 1, kDomain},
      {"DynamicQuantizeMatMul", import_dynamic_matmul, 1, kDomain},
      {"MatMulIntegerToFloat", import_matmul_to_float, 1, kDomain},
      {"Gelu", import_gelu<Fn::gelu_erf>, 1, kDomain},
      {"BiasGelu", import_gelu<Fn::gelu_erf>, 1, kDomain},
      {"FastGelu", import_gelu<Fn::gelu_tanh>, 1, kDomain},
      {"QuickGelu", import_quick_gelu, 1, kDomain},
      {"FusedMatMul", import_fused_matmul, 1, kDomain},
      {"SkipLayerNormalization", import_skip_norm<false>, 1, kDomain},
      {"SkipSimplifiedLayerNormalization", import_skip_norm<true>, 1, kDomain},
      {"EmbedLayerNormalization", import_embed_norm, 1, kDomain},
  };
  return kRows;
}

}  // namespace hone::import_onnx
