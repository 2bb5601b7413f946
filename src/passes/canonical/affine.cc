#include <algorithm>
#include <cmath>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// scale * x + offset, with a number for each channel (or one for all).
struct Affine {
  std::vector<double> scale, offset;
  bool constant() const {
    return std::all_of(scale.begin(), scale.end(), [](double s) { return s == 0; });
  }
};

std::vector<double> zip(const std::vector<double>& a, const std::vector<double>& b, double (*f)(double, double)) {
  std::vector<double> out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = f(a[a.size() == 1 ? 0 : i], b[b.size() == 1 ? 0 : i]);
  return out;
}
double add(double a, double b) { return a + b; }
double sub(double a, double b) { return a - b; }
double mul(double a, double b) { return a * b; }
double div(double a, double b) { return a / b; }

// The elements of a constant that varies along `axis` of a tensor of `rank` only.
std::optional<std::vector<double>> per_channel(const Tensor& t, int64_t rank, int64_t axis, int64_t channels) {
  if (!t.defined() || t.rank() > rank || !is_float(t.type()) || t.count() < 1) return std::nullopt;
  if (t.count() == 1) return std::vector{t.at(0)};
  const int64_t own = axis - (rank - t.rank());
  if (own < 0 || t.dims()[static_cast<size_t>(own)] != t.count() || t.count() != channels) return std::nullopt;
  return t.to_doubles();
}

std::optional<Affine> unary(Fn fn, const Affine& x) {
  if (fn == Fn::neg) return Affine{zip(x.scale, {-1}, mul), zip(x.offset, {-1}, mul)};
  if (!x.constant()) return std::nullopt;
  Affine out = x;
  for (double& v : out.offset) {
    switch (fn) {
      case Fn::sqrt: v = std::sqrt(v); break;
      case Fn::rsqrt: v = 1 / std::sqrt(v); break;
      case Fn::reciprocal: v = 1 / v; break;
      case Fn::square: v = v * v; break;
      default: return std::nullopt;
    }
  }
  return out;
}

std::optional<Affine> binary(Fn fn, const Affine& x, const Affine& y) {
  switch (fn) {
    case Fn::add: return Affine{zip(x.scale, y.scale, add), zip(x.offset, y.offset, add)};
    case Fn::sub: return Affine{zip(x.scale, y.scale, sub), zip(x.offset, y.offset, sub)};
    case Fn::mul:
      if (y.constant()) return Affine{zip(x.scale, y.offset, mul), zip(x.offset, y.offset, mul)};
      if (x.constant()) return Affine{zip(y.scale, x.offset, mul), zip(y.offset, x.offset, mul)};
      return std::nullopt;
    case Fn::div:
      if (!y.constant()) return std::nullopt;
      return Affine{zip(x.scale, y.offset, div), zip(x.offset, y.offset, div)};
    default: return std::nullopt;
  }
}

// What a pointwise node computes of its input `x`, when that is affine in each channel.
std::optional<Affine> affine_of(const Graph& graph, NodeId id, ValueId x, int64_t axis, int64_t channels) {
  const auto* pointwise = op_of<Pointwise>(graph, id);
  const TensorType& type = graph.type(x);
  const auto& inputs = graph.node(id).inputs;
  std::vector<Affine> values;
  for (const PointwiseInstr& instr : pointwise->program.code) {
    if (instr.type != type.dtype) return std::nullopt;
    std::optional<Affine> value;
    if (instr.fn == Fn::constant) {
      value = Affine{{0}, {instr.value}};
    } else if (instr.fn == Fn::input && inputs[static_cast<size_t>(instr.input)] == x) {
      value = Affine{{1}, {0}};
    } else if (instr.fn == Fn::input) {
      const Tensor& t = graph.value(inputs[static_cast<size_t>(instr.input)]).constant;
      if (const auto numbers = per_channel(t, type.shape.rank(), axis, channels)) value = Affine{{0}, *numbers};
    } else if (arity(instr.fn) == 1) {
      value = unary(instr.fn, values[static_cast<size_t>(instr.operand[0])]);
    } else if (arity(instr.fn) == 2) {
      value = binary(instr.fn, values[static_cast<size_t>(instr.operand[0])],
                     values[static_cast<size_t>(instr.operand[1])]);
    }
    if (!value) return std::nullopt;
    values.push_back(std::move(*value));
  }
  const auto finite = [](const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [](double d) { return std::isfinite(d); });
  };
  if (!finite(values.back().scale) || !finite(values.back().offset)) return std::nullopt;
  return values.back();
}

// How the output channels of a node lie in its weights: channel of element i = i / inner % (channels in a block) and so
// on.
struct Weights {
  int64_t axis = -1;  // of the output's channels
  int64_t channels = 0;
  int64_t outer = 1;             // ConvTranspose: groups lie outermost
  int64_t per_group = 0;         // channels that vary along one dim of the weights
  int64_t inner = 1;             // elements after that dim
  size_t weights = 1, bias = 2;  // the inputs: what a channel's factor goes into, and what it is shifted by
};

int64_t after(const Dims& dims, size_t dim) { return element_count(std::span(dims).subspan(dim + 1)); }

std::optional<Weights> conv_weights(const Graph& graph, NodeId id) {
  const Shape& out = graph.type(output(graph, id)).shape;
  const auto w = graph.type(input(graph, id, 1)).shape.concrete();
  if (!out.ranked || !w || w->size() != out.dims.size() || out.dims.size() < 3) return std::nullopt;
  if (const auto* conv = op_of<Conv>(graph, id)) {
    const int64_t channels = (*w)[0];
    return Weights{conv->channels_last ? out.rank() - 1 : 1, channels, 1, channels, after(*w, 0)};
  }
  const auto* conv = op_of<ConvTranspose>(graph, id);
  const int64_t channels = (*w)[1] * conv->groups;
  return Weights{conv->channels_last ? out.rank() - 1 : 1, channels, conv->groups, (*w)[1], after(*w, 1)};
}

std::optional<Weights> matmul_weights(const Graph& graph, NodeId id) {
  const Shape& out = graph.type(output(graph, id)).shape;
  const Shape& w = graph.type(input(graph, id, 1)).shape;
  if (out.rank() < 1 || w.rank() < 2) return std::nullopt;
  const bool transposed = op_of<MatMul>(graph, id)->trans_b;
  const Dim &n = w.dims[w.dims.size() - (transposed ? 2 : 1)], &k = w.dims[w.dims.size() - (transposed ? 1 : 2)];
  if (!n.known()) return std::nullopt;
  return Weights{out.rank() - 1, n.value, 1, n.value, transposed ? (k.known() ? k.value : 0) : 1};
}

// The scales take the factors.
std::optional<Weights> nbits_weights(const Graph& graph, NodeId id) {
  const Shape& out = graph.type(output(graph, id)).shape;
  const auto scales = graph.type(input(graph, id, 2)).shape.concrete();
  if (out.rank() < 1 || !scales) return std::nullopt;
  return Weights{out.rank() - 1, (*scales)[0], 1, (*scales)[0], (*scales)[1], 2, 4};
}

std::optional<Weights> weights_of(const Graph& graph, NodeId id) {
  if (op_of<Conv>(graph, id) || op_of<ConvTranspose>(graph, id)) return conv_weights(graph, id);
  if (op_of<MatMul>(graph, id)) return matmul_weights(graph, id);
  if (op_of<MatMulNBits>(graph, id)) return nbits_weights(graph, id);
  return std::nullopt;
}

Tensor scaled(const Tensor& w, const Weights& layout, const std::vector<double>& scale) {
  Tensor out(w.type(), w.dims());
  const int64_t count = w.count();
  const bool plain = w.type() == DType::f32;
  const float* const from = plain ? w.data<float>() : nullptr;
  float* const to = plain ? out.mutable_data<float>() : nullptr;
  for (int64_t first = 0; first < count; first += layout.inner) {
    const int64_t in_group = first / layout.inner % layout.per_group;
    const int64_t group = layout.outer == 1 ? 0 : first / (count / layout.outer);
    const double factor = scale[scale.size() == 1 ? 0 : static_cast<size_t>(group * layout.per_group + in_group)];
    for (int64_t i = first; i < first + layout.inner; ++i) {
      if (plain) to[i] = static_cast<float>(from[i] * factor);
      else out.set(i, w.at(i) * factor);
    }
  }
  return out;
}

// Conv, ConvTranspose or MatMul, then an affine function of each channel (batch norm, scale, bias) -> the first alone,
// with that in its weights and bias. Computed in double.
bool fold_affine(Graph& graph, NodeId id) {
  const auto layout = weights_of(graph, id);
  if (!layout || layout->channels < 1) return false;
  const ValueId y = output(graph, id);
  const NodeId user = only_user(graph, y);
  if (op_of<Pointwise>(graph, user) == nullptr || !is_float(graph.type(y).dtype)) return false;
  if (graph.type(output(graph, user)).shape.rank() != graph.type(y).shape.rank()) return false;
  const auto affine = affine_of(graph, user, y, layout->axis, layout->channels);
  if (!affine) return false;

  const bool scales = std::any_of(affine->scale.begin(), affine->scale.end(), [](double s) { return s != 1; });
  const ValueId y_bias = input(graph, id, layout->bias);
  const Tensor w = graph.value(input(graph, id, layout->weights)).constant;
  const Tensor bias = graph.value(y_bias).constant;
  // Weights of 8 bits, as e4m3, would be rounded anew.
  if (scales && (!w.defined() || w.count() == 0 || size_of(w.type()) == 1)) return false;
  if (y_bias != ValueId::none && (!bias.defined() || bias.count() != layout->channels)) return false;
  std::vector<double> shift(static_cast<size_t>(layout->channels), 0);
  if (bias.defined()) shift = bias.to_doubles();
  shift = zip(zip(shift, affine->scale, mul), affine->offset, add);

  std::vector<ValueId> inputs = graph.node(id).inputs;
  inputs.resize(layout->bias + 1, ValueId::none);
  if (scales) {
    ValueId& weights = inputs[layout->weights];
    weights = graph.add_constant(scaled(w, *layout, affine->scale), graph.value(weights).name);
  }
  Tensor folded(graph.type(y).dtype, {layout->channels});
  bool zero = true;
  for (size_t c = 0; c < shift.size(); ++c) {
    folded.set(static_cast<int64_t>(c), shift[c]);
    zero &= shift[c] == 0;
  }
  if (!zero || bias.defined()) inputs.back() = graph.add_constant(folded, graph.value(inputs.back()).name);
  else inputs.pop_back();
  return replace(graph, output(graph, user), emit(graph, graph.node(id).op, inputs, {id, user}));
}

}  // namespace

Result<int> fold_affine_functions(Graph& graph, int limit) { return apply(graph, limit, {fold_affine}); }

}  // namespace hone
