#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ops/elements.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr double kMasked = -std::numeric_limits<double>::infinity();

// The dims of input i, unknown ones when its rank is; an error when the rank is not 4.
Result<std::vector<Dim>> four_dims(const InferArgs& args, size_t i) {
  const TensorType& type = args.type(i);
  if (!type.defined()) return invalid("input {} is missing", i);
  if (!type.shape.ranked) return std::vector<Dim>(4);
  if (type.shape.rank() != 4) return invalid("input {} is {}, expected rank 4", i, to_text(type));
  return type.shape.dims;
}

// The dims of q, k and v as [batch, heads, length, size], whatever the layout.
Result<std::vector<std::vector<Dim>>> operand_dims(const Attention& op, const InferArgs& args) {
  std::vector<std::vector<Dim>> dims;
  if (op.layout == "packed") {
    const TensorType& type = args.type(0);
    if (args.has(1) || args.has(2)) return invalid("packed attention has no inputs 1 and 2");
    std::vector<Dim> all = type.shape.ranked ? type.shape.dims : std::vector<Dim>(5);
    if (all.size() != 5 || (all[2].known() && all[2].value != 3))
      return invalid("input 0 is {}, expected [batch, length, 3, heads, size]", to_text(type));
    dims.assign(3, {all[0], all[3], all[1], all[4]});
    return dims;
  }
  if (op.layout != "heads" && op.layout != "rows") return invalid("there is no attention layout '{}'", op.layout);
  for (size_t i = 0; i < 3; ++i) {
    HONE_TRY(auto own, four_dims(args, i));
    if (op.layout == "rows") std::swap(own[1], own[2]);
    dims.push_back(std::move(own));
  }
  return dims;
}

// Takes what is known from both; false when they disagree.
bool agree(Dim& a, const Dim& b) {
  if (a.known() && b.known()) return a == b;
  if (b.known() || (!a.known() && a.symbol.empty())) a = b;
  return true;
}

Status check_mask(const TensorType& mask, const std::vector<Dim>& scores, DType type) {
  if (!mask.defined()) return {};
  if (mask.dtype != type && mask.dtype != DType::boolean && mask.dtype != DType::f32)
    return invalid("the mask is {}, expected bool, f32 or {}", name(mask.dtype), name(type));
  if (!mask.shape.ranked) return {};
  const auto& dims = mask.shape.dims;
  bool fits = !dims.empty() && dims.size() <= 4;
  for (size_t i = 0; fits && i < dims.size(); ++i) {
    const Dim& to = scores[i + 4 - dims.size()];
    if (!dims[i].known() || !to.known()) continue;
    fits = i + 1 == dims.size() ? dims[i].value <= to.value : dims[i].value == 1 || dims[i] == to;
  }
  if (!fits)
    return invalid("the mask {} does not broadcast to the scores {}", to_text(mask), to_text({type, Shape(scores)}));
  return {};
}

struct Head {
  int64_t batch, head, queries, keys, size, v_size;
};

// What is added to each score: the mask, the lengths and the causal rule as one [queries, keys] matrix.
class Bias {
 public:
  Bias(const Attention& op, const EvalArgs& args) : causal_(op.causal) {
    if (args.has(3)) {
      dims_ = args[3].dims();
      dims_.insert(dims_.begin(), 4 - dims_.size(), 1);
      values_ = numbers_of<double>(args[3]);
      if (args[3].type() == DType::boolean)
        for (double& v : values_) v = v != 0 ? 0 : kMasked;
    }
    if (args.has(4)) lengths_ = args[4].to_ints();
    if (args.has(5) && args[5].count() > 0) offset_ = args[5].int_at(0);
  }

  double at(const Head& h, int64_t i, int64_t j) const {
    if (causal_ && j > i + offset_) return kMasked;
    if (!lengths_.empty() && j >= lengths_[static_cast<size_t>(h.batch)]) return kMasked;
    if (dims_.empty()) return 0;
    if (j >= dims_[3]) return kMasked;
    const auto pick = [&](size_t d, int64_t at) { return dims_[d] == 1 ? 0 : at; };
    return values_[static_cast<size_t>(
        ((pick(0, h.batch) * dims_[1] + pick(1, h.head)) * dims_[2] + pick(2, i)) * dims_[3] + j)];
  }

 private:
  bool causal_;
  Dims dims_;
  std::vector<double> values_;
  std::vector<int64_t> lengths_;
  int64_t offset_ = 0;
};

void softmax_row(double* row, int64_t count) {
  double top = kMasked, sum = 0;
  for (int64_t i = 0; i < count; ++i) top = std::max(top, row[i]);
  // A row with every key masked attends to nothing.
  if (top == kMasked) return static_cast<void>(std::fill_n(row, count, 0.0));
  for (int64_t i = 0; i < count; ++i) sum += row[i] = std::exp(row[i] - top);
  for (int64_t i = 0; i < count; ++i) row[i] /= sum;
}

// Turns the products of one head into softmax weights; `kept` gets the scores after the stage that the op names.
void weigh(const Attention& op, const Head& h, const Bias& bias, std::vector<double>& scores, double* kept) {
  const auto keep = [&](std::string_view stage) {
    if (kept != nullptr && op.scores_output == stage) std::copy(scores.begin(), scores.end(), kept);
  };
  keep("product");
  if (op.softcap > 0)
    for (double& s : scores) s = op.softcap * std::tanh(s / op.softcap);
  keep("capped");
  for (int64_t i = 0; i < h.queries; ++i)
    for (int64_t j = 0; j < h.keys; ++j) scores[static_cast<size_t>(i * h.keys + j)] += bias.at(h, i, j);
  keep("masked");
  for (int64_t i = 0; i < h.queries; ++i) softmax_row(scores.data() + i * h.keys, h.keys);
  keep("softmax");
}

}  // namespace

Result<Types> Attention::infer(const InferArgs& args) const {
  const DType type = args.type(0).dtype;
  const bool bytes = type == DType::i8;
  if (!is_float(type) && !bytes) return invalid("attention over {}", name(type));
  if (bytes && args.outputs > 1) return invalid("attention over i8 has one output");
  if (!bytes && (quantizes || result_scale != 1))
    return invalid("the result of attention over {} has no scale", name(type));
  const bool packed = layout == "packed";
  if (!packed && (args.type(1).dtype != type || args.type(2).dtype != args.type(1).dtype))
    return invalid("q, k and v are {}, {} and {}", name(type), name(args.type(1).dtype), name(args.type(2).dtype));
  if (scores_output != "product" && scores_output != "capped" && scores_output != "masked" &&
      scores_output != "softmax")
    return invalid("there is no attention stage '{}'", scores_output);
  if (!(softcap >= 0)) return invalid("softcap is {}", softcap);
  HONE_TRY(const auto operands, operand_dims(*this, args));
  const auto &q = operands[0], &k = operands[1], &v = operands[2];
  Dim batch = q[0], size = q[3], heads = k[1], keys = k[2];
  if (!agree(batch, k[0]) || !agree(batch, v[0]) || !agree(size, k[3]) || !agree(heads, v[1]) || !agree(keys, v[2]))
    return invalid("q {}, k {} and v {} do not fit each other", to_text(args.type(0)), to_text(args.type(1)),
                   to_text(args.type(2)));
  if (q[1].known() && heads.known() && (heads.value == 0 || q[1].value % heads.value != 0))
    return invalid("{} query heads are no multiple of {} key heads", q[1].value, heads.value);
  const std::vector<Dim> scores{batch, q[1], q[2], keys};
  HONE_CHECK(check_mask(args.type(3), scores, type));
  const Dim lengths = args.has(4) && args.type(4).shape.rank() == 1 ? args.type(4).shape.dims[0] : Dim();
  if (args.has(4) && ((args.type(4).shape.ranked && args.type(4).shape.rank() != 1) || !agree(batch, lengths)))
    return invalid("the key lengths are {}", to_text(args.type(4)));
  std::vector<Dim> y{batch, q[1], q[2], v[3]};
  if (layout != "heads") std::swap(y[1], y[2]);
  Types types{{bytes && !quantizes ? DType::f32 : type, Shape(y)}};
  if (args.outputs > 1) types.push_back({type, Shape(scores)});
  if (args.outputs > 2) return invalid("attention has no output 2");
  return types;
}

double Attention::scale_of(const Shape& queries) const {
  return scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(queries.dims.back().value));
}

namespace {

// [batch, length, heads, size] from [batch, heads, length, size], or the other way round.
Tensor swap_middle(const Tensor& x) {
  const Dims& d = x.dims();
  const Dims own = strides_of(d);
  return copy_strided(x, {d[0], d[2], d[1], d[3]}, {own[0], own[2], own[1], own[3]});
}

// By way of the layout "heads".
Result<Tensors> evaluate_transposed(Attention op, const EvalArgs& args) {
  const Types inputs = types_of(args);
  HONE_CHECK(op.infer({inputs, {}, args.outputs}).status());
  Tensors moved(args.inputs.begin(), args.inputs.end());
  moved.resize(std::max<size_t>(moved.size(), 3));
  const Dims d = args[0].dims(), own = strides_of(d);
  for (size_t i = 0; i < 3; ++i)
    moved[i] = op.layout == "rows" ? swap_middle(moved[i])
                                   : copy_strided(args[0], {d[0], d[3], d[1], d[4]}, {own[0], own[3], own[1], own[4]},
                                                  static_cast<int64_t>(i) * own[2]);
  op.layout = "heads";
  HONE_TRY(Tensors out, op.evaluate({moved, args.outputs}));
  out[0] = swap_middle(out[0]);
  return out;
}

// By way of f32, which holds all of i8.
Result<Tensors> evaluate_bytes(Attention op, const EvalArgs& args) {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, op.infer({inputs, {}, args.outputs}));
  const double scale = std::exchange(op.result_scale, 1);
  const bool quantizes = std::exchange(op.quantizes, false);
  Tensors moved(args.inputs.begin(), args.inputs.end());
  for (size_t i = 0; i < 3 && i < moved.size(); ++i)
    if (moved[i].defined()) moved[i] = tensor_from(DType::f32, moved[i].dims(), numbers_of<double>(moved[i]));
  HONE_TRY(Tensors out, op.evaluate({moved, args.outputs}));
  std::vector<double> y = numbers_of<double>(out[0]);
  for (double& v : y) v = quantizes ? std::clamp(std::nearbyint(v * scale), -128.0, 127.0) : v * scale;
  return Tensors{tensor_from(types[0].dtype, out[0].dims(), y)};
}

}  // namespace

Result<Tensors> Attention::evaluate(const EvalArgs& args) const {
  if (args[0].type() == DType::i8) return evaluate_bytes(*this, args);
  if (layout != "heads") return evaluate_transposed(*this, args);
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, 2}));
  const Dims y_dims = *types[0].shape.concrete(), s_dims = *types[1].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, s_dims));
  Head h{0, 0, s_dims[2], s_dims[3], args[0].dims()[3], y_dims[3]};
  const int64_t heads = s_dims[1], shared = heads / std::max<int64_t>(args[1].dims()[1], 1);
  const double factor = scale_of(inputs[0].shape);
  const auto q = numbers_of<double>(args[0]), k = numbers_of<double>(args[1]), v = numbers_of<double>(args[2]);
  const Bias bias(*this, args);
  std::vector<double> y(static_cast<size_t>(element_count(y_dims))),
      kept(args.outputs > 1 ? static_cast<size_t>(element_count(s_dims)) : 0);
  std::vector<double> keys(static_cast<size_t>(h.size * h.keys)), scores;
  for (int64_t i = 0; i < s_dims[0] * heads; ++i) {
    h.batch = i / heads;
    h.head = i % heads;
    const int64_t kv = h.batch * args[1].dims()[1] + h.head / shared;
    for (int64_t j = 0; j < h.keys; ++j)
      for (int64_t c = 0; c < h.size; ++c)
        keys[static_cast<size_t>(c * h.keys + j)] = factor * k[static_cast<size_t>((kv * h.keys + j) * h.size + c)];
    scores.assign(static_cast<size_t>(h.queries * h.keys), 0);
    multiply_add(q.data() + i * h.queries * h.size, keys.data(), scores.data(), h.queries, h.size, h.keys);
    weigh(*this, h, bias, scores, kept.empty() ? nullptr : kept.data() + i * h.queries * h.keys);
    multiply_add(scores.data(), v.data() + kv * h.keys * h.v_size, y.data() + i * h.queries * h.v_size, h.queries,
                 h.keys, h.v_size);
  }
  Tensors out{tensor_from(types[0].dtype, y_dims, y)};
  if (args.outputs > 1) out.push_back(tensor_from(types[0].dtype, s_dims, kept));
  return out;
}

std::span<const OpRow> attention_ops() {
  static constexpr OpRow kRows[] = {op_row<Attention>()};
  return kRows;
}

}  // namespace hone
