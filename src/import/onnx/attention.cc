#include "ops/attention.h"

#include "import/onnx/formula.h"
#include "import/onnx/importer.h"
#include "ops/gather.h"
#include "ops/movement.h"
#include "ops/shape.h"

namespace hone::import_onnx {
namespace {

// [batch, length, heads * size] as [batch, heads, length, size].
ValueId split_heads(NodeImport& n, ValueId x, int64_t heads) {
  return n.transpose(n.reshape(x, {0, 0, heads, -1}), {0, 2, 1, 3});
}

// The past followed by the new keys or values, along the length.
ValueId with_past(NodeImport& n, size_t k, ValueId now) {
  return n.has_input(k) ? n.add(Concat{.axis = 2}, {n.input(k), now}) : now;
}

void import_attention(NodeImport& n) {
  constexpr const char* kStages[] = {"product", "capped", "masked", "softmax"};
  ValueId q = n.input(0), k = n.input(1), v = n.input(2);
  const bool flat = n.rank(q) == 3;
  n.ignore({"q_num_heads", "kv_num_heads"});  // dims of 4-d inputs
  if (!n.failed() && (n.rank(k) != n.rank(q) || n.rank(v) != n.rank(q))) n.invalid("q, k and v differ in rank");
  if (flat) {
    const int64_t heads = n.i("q_num_heads"), kv_heads = n.i("kv_num_heads");
    if (heads < 1 || kv_heads < 1) return n.invalid("q_num_heads and kv_num_heads are {} and {}", heads, kv_heads);
    q = split_heads(n, q, heads);
    k = split_heads(n, k, kv_heads);
    v = split_heads(n, v, kv_heads);
  }
  if (n.has_input(4) != n.has_input(5)) return n.invalid("only one of past_key and past_value is given");
  k = with_past(n, 4, k);
  v = with_past(n, 5, v);
  n.output(1, k);
  n.output(2, v);
  const int64_t stage = n.i("qk_matmul_output_mode");
  if (stage < 0 || stage > 3) return n.invalid("qk_matmul_output_mode is {}", stage);
  const double scale = n.f("scale");
  if (n.has("scale") && scale == 0) return n.unsupported("scale = 0");
  // Any softmax precision is met: the reference and the kernels accumulate in f32 or wider.
  if (!is_float(n.dtype("softmax_precision", DType::f32))) return n.invalid("softmax_precision is no float type");
  Attention op{
      .scale = scale, .softcap = n.f("softcap"), .causal = n.i("is_causal") != 0, .scores_output = kStages[stage]};
  std::vector<ValueId> inputs{q, k, v, n.input(3), n.input(6), ValueId::none};
  if (op.causal && n.has_input(4)) inputs[5] = n.add(ShapeOf{.start = 2, .end = 3}, {n.input(4)});
  while (inputs.size() > 3 && inputs.back() == ValueId::none) inputs.pop_back();
  const auto results = n.add(std::move(op), inputs, n.has_output(3) ? 2 : 1);
  if (n.failed()) return;
  n.output(0, flat ? n.reshape(n.transpose(results[0], {0, 2, 1, 3}), {0, 0, -1}) : results[0]);
  if (n.has_output(3)) n.output(3, results[1]);
}

ValueId last_slice(NodeImport& n, ValueId x, int64_t from, int64_t to, int64_t step = 1) {
  return n.add(Slice{}, {x, n.ints({from}), n.ints({to}), n.ints({3}), n.ints({step})});
}

// Rotates pairs of the last dim of x by cos and sin, which broadcast over its heads.
ValueId rotate(NodeImport& n, ValueId x, ValueId cos, ValueId sin, int64_t half, bool interleaved) {
  const ValueId a = interleaved ? last_slice(n, x, 0, 2 * half, 2) : last_slice(n, x, 0, half);
  const ValueId b = interleaved ? last_slice(n, x, 1, 2 * half, 2) : last_slice(n, x, half, 2 * half);
  if (n.failed()) return ValueId::none;
  const auto mix = [&](const char* op, ValueId c, ValueId s) {
    const std::string text = fmt::format("in0:{0}; in1:{0}; in2:{0}; in3:{0}; mul:{0}(0,1); mul:{0}(2,3); {1}:{0}(4,5)",
                                         name(n.type(x).dtype), op);
    return formula(n, text, {c, a, s, b});
  };
  ValueId real = mix("sub", cos, sin), imaginary = mix("add", sin, cos);
  if (!interleaved) return n.add(Concat{.axis = 3}, {real, imaginary});
  real = n.reshape(real, {0, 0, 0, -1, 1});
  imaginary = n.reshape(imaginary, {0, 0, 0, -1, 1});
  return n.reshape(n.add(Concat{.axis = 4}, {real, imaginary}), {0, 0, 0, -1});
}

void import_rotary_embedding(NodeImport& n) {
  ValueId x = n.input(0), cos = n.input(1), sin = n.input(2);
  const bool flat = n.rank(x) == 3;  // [batch, length, heads * size], else [batch, heads, length, size]
  if (n.failed() || (!flat && n.rank(x) != 4)) return n.invalid("the input is {}", to_text(n.type(x)));
  n.ignore({"num_heads"});  // a dim of a 4-d input
  const ValueId original = x;
  if (flat) {
    const int64_t heads = n.i("num_heads");
    if (heads < 1) return n.invalid("num_heads is {}", heads);
    x = n.reshape(x, {0, 0, heads, -1});
  }
  const int64_t dim = n.i("rotary_embedding_dim");
  const Shape& cache = n.type(cos).shape;
  const int64_t half = dim > 0 ? dim / 2 : cache.rank() > 0 ? cache.dims.back().value : -1;
  if (half < 1) return n.unsupported("the rotary dim is not known");
  if (n.has_input(3)) {
    cos = n.add(Gather{.axis = 0}, {cos, n.input(3)});
    sin = n.add(Gather{.axis = 0}, {sin, n.input(3)});
  }
  const std::vector<int64_t> over_heads =
      flat ? std::vector<int64_t>{0, 0, 1, half} : std::vector<int64_t>{0, 1, -1, half};
  cos = n.reshape(cos, over_heads);
  sin = n.reshape(sin, over_heads);
  ValueId y = rotate(n, x, cos, sin, half, n.i("interleaved") != 0);
  const bool partial = dim > 0 && !(n.type(x).shape.ranked && n.type(x).shape.dims.back() == Dim(2 * half));
  if (partial) y = n.add(Concat{.axis = 3}, {y, last_slice(n, x, 2 * half, INT64_MAX)});
  if (flat) y = n.add(Reshape{}, {y, n.add(ShapeOf{}, {original})});
  n.output(0, y);
}

}  // namespace

std::span<const ImporterRow> attention_importers() {
  static constexpr ImporterRow kRows[] = {{"Attention", import_attention},
                                          {"RotaryEmbedding", import_rotary_embedding}};
  return kRows;
}

}  // namespace hone::import_onnx
