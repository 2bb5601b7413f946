#include <cmath>

#include "import/onnx/importer.h"
#include "import/onnx/inline.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/shape.h"

namespace hone::import_onnx {
namespace {

ValueId dims_between(NodeImport& n, ValueId x, int64_t from, int64_t to) { return n.add(ShapeOf{from, to}, {x}); }

ValueId reshaped(NodeImport& n, ValueId x, std::vector<ValueId> dims) {
  return n.add(Reshape{.allow_zero = true}, {x, n.add(Concat{.axis = 0}, std::move(dims))});
}

// The scores or probabilities after the modifier that the model may have for them.
ValueId modified(NodeImport& n, const char* attr, ValueId x) {
  if (!n.has(attr) || n.failed()) return x;
  const TensorType type = n.type(x);
  const Subgraph graph = n.graph(attr, {type});
  if (n.failed()) return ValueId::none;
  const auto outputs = inline_graph(n, graph, {x});
  if (n.failed()) return ValueId::none;
  if (outputs.size() != 1 || n.type(outputs[0]).dtype != type.dtype) {
    n.invalid("{} of {} must give one tensor of its type", attr, to_text(type));
    return ValueId::none;
  }
  return outputs[0];
}

// The query heads that share a key head are a dim of their own, over which the keys and values broadcast.
void import_flex_attention(NodeImport& n) {
  const ValueId q = n.input(0), k = n.input(1), v = n.input(2);
  for (ValueId x : {q, k, v})
    if (n.rank(x) != 4) return n.invalid("an input is {}, not of rank 4", to_text(n.type(x)));
  const DType type = n.type(q).dtype;
  const Dim heads = n.type(q).shape.dims[1], groups = n.type(k).shape.dims[1], size = n.type(q).shape.dims[3];
  if (!heads.known() || !groups.known()) return n.unsupported("the numbers of heads are not known");
  if (groups.value < 1 || heads.value % groups.value != 0)
    return n.invalid("{} query heads over {} key heads", heads.value, groups.value);
  if (!n.has("scale") && !size.known()) return n.unsupported("the head size is not known");
  const double scale = n.f("scale", 1 / std::sqrt(static_cast<double>(size.value)));
  if (!(scale >= 0)) return n.unsupported("scale = {}", scale);
  const DType precision = n.dtype("softmax_precision", type == DType::f64 ? DType::f64 : DType::f32);
  if (!is_float(precision)) return n.invalid("softmax_precision is {}", name(precision));

  const bool grouped = heads.value != groups.value;
  const ValueId batch = dims_between(n, q, 0, 1), split = n.ints({groups.value, heads.value / groups.value});
  const auto shared = [&](ValueId x) {
    return grouped ? reshaped(n, x, {dims_between(n, x, 0, 2), n.ints({1}), dims_between(n, x, 2, 4)}) : x;
  };
  const auto part = [&](ValueId x) { return n.pointwise(Fn::mul, {x, n.scalar(std::sqrt(scale), type)}); };
  const ValueId rows = grouped ? reshaped(n, q, {batch, split, dims_between(n, q, 2, 4)}) : q;
  ValueId scores = n.add(MatMul{.trans_b = true}, {part(rows), part(shared(k))});
  if (grouped) scores = reshaped(n, scores, {dims_between(n, q, 0, 3), dims_between(n, k, 2, 3)});
  scores = modified(n, "score_mod", n.cast(scores, precision));
  ValueId probs = modified(n, "prob_mod", n.add(Softmax{.axis = -1}, {scores}));
  if (grouped) probs = reshaped(n, probs, {batch, split, dims_between(n, probs, 2, 4)});
  ValueId y = n.cast(n.add(MatMul{}, {probs, n.cast(shared(v), precision)}), n.failed() ? type : n.type(v).dtype);
  if (grouped) y = reshaped(n, y, {batch, n.ints({heads.value}), dims_between(n, y, 3, 5)});
  n.output(0, y);
}

}  // namespace

std::span<const ImporterRow> flex_attention_importers() {
  static constexpr ImporterRow kRows[] = {{"FlexAttention", import_flex_attention, 1, "ai.onnx.preview"}};
  return kRows;
}

}  // namespace hone::import_onnx
