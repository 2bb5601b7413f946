#include <algorithm>
#include <cmath>

#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// reduce(x) that keeps its dims, and over which.
struct Reduction {
  ValueId x;
  std::vector<int64_t> axes;  // sorted
};

std::optional<Reduction> reduction(const Graph& graph, ValueId v, std::string_view kind) {
  const auto* reduce = producer<Reduce>(graph, v);
  if (reduce == nullptr || reduce->kind != kind || !reduce->keep_dims) return std::nullopt;
  const NodeId id = graph.value(v).producer;
  Reduction out{input(graph, id, 0), {}};
  const int64_t rank = graph.type(out.x).shape.rank();
  const auto axes = const_ints(graph, input(graph, id, 1));
  if (!axes || axes->empty() || rank < 1) return std::nullopt;
  for (int64_t a : *axes) {
    const auto axis = normal_axis(a, rank);
    if (!axis) return std::nullopt;
    out.axes.push_back(*axis);
  }
  std::sort(out.axes.begin(), out.axes.end());
  return out;
}

// The first of the dims that were reduced, when those are the last ones.
std::optional<int64_t> trailing(const Graph& graph, const Reduction& r) {
  const int64_t rank = graph.type(r.x).shape.rank();
  for (size_t i = 0; i < r.axes.size(); ++i)
    if (r.axes[r.axes.size() - 1 - i] != rank - 1 - static_cast<int64_t>(i)) return std::nullopt;
  return r.axes[0];
}

// v = fn(value): that value, else none.
ValueId operand(const Graph& graph, ValueId v, Fn fn) {
  const auto c = call(graph, v);
  return c && c->fn == fn ? c->args[0].value : ValueId::none;
}

// v = x * x in any spelling.
ValueId square_root_of(const Graph& graph, ValueId v) {
  const auto c = call(graph, v);
  if (!c) return ValueId::none;
  const bool square = c->fn == Fn::square || (c->fn == Fn::pow && c->args[1].is(2)) ||
                      (c->fn == Fn::mul && c->args[0].value == c->args[1].value);
  return square ? c->args[0].value : ValueId::none;
}

// What is under the root: the mean of squares of `x` plus epsilon.
struct Deviation {
  ValueId x;
  Reduction mean;
  double epsilon;
};

std::optional<Deviation> deviation(const Graph& graph, ValueId variance) {
  const auto sum = call(graph, variance);
  if (!sum || sum->fn != Fn::add) return std::nullopt;
  for (int k = 0; k < 2; ++k) {
    if (sum->args[k].value != ValueId::none || sum->args[1 - k].value == ValueId::none) continue;
    const auto mean = reduction(graph, sum->args[1 - k].value, "mean");
    if (!mean || sum->args[k].constant < 0) return std::nullopt;
    const ValueId x = square_root_of(graph, mean->x);
    if (x != ValueId::none) return Deviation{x, *mean, sum->args[k].constant};
  }
  return std::nullopt;
}

// v = x / sqrt(mean(x^2) + epsilon), or x * (1 / sqrt(...)) in any spelling.
std::optional<Deviation> normalised(const Graph& graph, ValueId v) {
  const auto c = call(graph, v);
  if (!c || (c->fn != Fn::div && c->fn != Fn::mul)) return std::nullopt;
  for (int k = 0; k < 2; ++k) {
    const ValueId x = c->args[k].value, other = c->args[1 - k].value;
    if (x == ValueId::none || other == ValueId::none || (c->fn == Fn::div && k == 1)) continue;
    ValueId variance = ValueId::none;
    if (c->fn == Fn::div) {
      variance = operand(graph, other, Fn::sqrt);
    } else {
      variance = operand(graph, other, Fn::rsqrt);
      const auto root = call(graph, other);
      if (root && root->fn == Fn::reciprocal) variance = operand(graph, root->args[0].value, Fn::sqrt);
      if (root && root->fn == Fn::div && root->args[0].is(1)) variance = operand(graph, root->args[1].value, Fn::sqrt);
    }
    if (variance == ValueId::none) continue;
    auto found = deviation(graph, variance);
    if (found && found->x == x) return found;
  }
  return std::nullopt;
}

// x / sqrt(mean(x^2) + e) -> LayerNorm: rms, or plain when x is itself y - mean(y).
bool recognise_norm(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr) return false;
  const ValueId out = output(graph, id);
  const auto found = normalised(graph, out);
  if (!found || !is_float(graph.type(out).dtype)) return false;
  const auto axis = trailing(graph, found->mean);
  if (!axis) return false;
  LayerNorm op{.axis = *axis, .epsilon = found->epsilon, .rms = true};
  ValueId x = found->x;
  const auto centred = call(graph, x);
  if (centred && centred->fn == Fn::sub && centred->args[1].value != ValueId::none) {
    const auto mean = reduction(graph, centred->args[1].value, "mean");
    if (mean && mean->x == centred->args[0].value && mean->axes == found->mean.axes) {
      x = mean->x;
      op.rms = false;
    }
  }
  return replace(graph, out, emit(graph, op, {x}, {id}));
}

// The dims of `v` are those of the normalised part, after ones: the value without those ones.
ValueId parameter(Graph& graph, ValueId v, const Shape& x, int64_t axis) {
  const Tensor& t = graph.value(v).constant;
  if (!t.defined() || x.rank() < 1) return ValueId::none;
  const auto n = static_cast<size_t>(x.rank() - axis);
  Dims dims = t.dims();
  while (dims.size() > n && dims[0] == 1) dims.erase(dims.begin());
  if (dims.size() != n) return ValueId::none;
  for (size_t i = 0; i < n; ++i)
    if (x.dims[static_cast<size_t>(axis) + i].value != dims[i]) return ValueId::none;
  return dims == t.dims() ? v : graph.add_constant(t.reshaped(dims), graph.value(v).name);
}

// LayerNorm * scale, then + bias -> LayerNorm with them.
bool absorb_parameters(Graph& graph, NodeId id) {
  const auto* norm = op_of<LayerNorm>(graph, id);
  if (norm == nullptr || graph.node(id).outputs.size() != 1) return false;
  const ValueId out = output(graph, id), x = input(graph, id, 0);
  const NodeId user = only_user(graph, out);
  const bool scaled = input(graph, id, 1) != ValueId::none, biased = input(graph, id, 2) != ValueId::none;
  const auto axis = normal_axis(norm->axis, graph.type(x).shape.rank());
  if (user == NodeId::none || biased || !axis) return false;
  const auto c = op_of<Pointwise>(graph, user) ? call(graph, output(graph, user)) : std::nullopt;
  if (!c || !((c->fn == Fn::mul && !scaled) || c->fn == Fn::add)) return false;
  for (int k = 0; k < 2; ++k) {
    if (c->args[k].value != out || c->args[1 - k].value == ValueId::none || c->args[1 - k].value == out) continue;
    const ValueId p = parameter(graph, c->args[1 - k].value, graph.type(x).shape, *axis);
    if (p == ValueId::none) continue;
    std::vector<ValueId> inputs = graph.node(id).inputs;
    inputs.resize(c->fn == Fn::mul ? 2 : 3, ValueId::none);
    inputs.back() = p;
    return replace(graph, output(graph, user), emit(graph, *norm, inputs, {id, user}));
  }
  return false;
}

// A parameter times another of the same dims.
ValueId product(Graph& graph, ValueId parameter, ValueId by) {
  const Tensor &t = graph.value(parameter).constant, &factors = graph.value(by).constant;
  Tensor scaled(t.type(), t.dims());
  for (int64_t i = 0; i < t.count(); ++i) scaled.set(i, t.at(i) * factors.at(i));
  return graph.add_constant(std::move(scaled), graph.value(parameter).name);
}

// LayerNorm that has its parameters, times a constant -> LayerNorm with both times that.
bool scale_parameters(Graph& graph, NodeId id) {
  const auto* norm = op_of<LayerNorm>(graph, id);
  if (norm == nullptr || graph.node(id).outputs.size() != 1 || input(graph, id, 1) == ValueId::none) return false;
  const ValueId out = output(graph, id);
  const NodeId user = only_user(graph, out);
  const auto axis = normal_axis(norm->axis, graph.type(out).shape.rank());
  const auto c = op_of<Pointwise>(graph, user) ? call(graph, output(graph, user)) : std::nullopt;
  if (!c || !axis || c->fn != Fn::mul) return false;
  for (int k = 0; k < 2; ++k) {
    const ValueId other = c->args[1 - k].value;
    if (c->args[k].value != out || other == ValueId::none) continue;
    const auto as_parameter = [&](ValueId v) { return parameter(graph, v, graph.type(out).shape, *axis); };
    const ValueId by = as_parameter(other);
    if (by == ValueId::none) continue;
    std::vector<ValueId> inputs = graph.node(id).inputs;
    for (ValueId& v : std::span(inputs).subspan(1)) {
      const ValueId own = as_parameter(v);
      if (own == ValueId::none) return false;
      v = product(graph, own, by);
    }
    return replace(graph, output(graph, user), emit(graph, *norm, inputs, {id, user}));
  }
  return false;
}

// exp(x - max(x)) / sum(exp(x - max(x))), the maximum or not -> Softmax.
bool recognise_softmax(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr) return false;
  const auto quotient = call(graph, output(graph, id));
  if (!quotient || quotient->fn != Fn::div || quotient->args[1].value == ValueId::none) return false;
  const auto sum = reduction(graph, quotient->args[1].value, "sum");
  if (!sum || sum->x != quotient->args[0].value || sum->axes.size() != 1) return false;
  ValueId x = operand(graph, sum->x, Fn::exp);
  if (x == ValueId::none || !is_float(graph.type(x).dtype)) return false;
  const auto shifted = call(graph, x);
  if (shifted && shifted->fn == Fn::sub && shifted->args[1].value != ValueId::none) {
    const auto max = reduction(graph, shifted->args[1].value, "max");
    if (max && max->x == shifted->args[0].value && max->axes == sum->axes) x = max->x;
  }
  return replace(graph, output(graph, id), emit(graph, Softmax{.axis = sum->axes[0]}, {x}, {id}));
}

}  // namespace

Result<int> recognise_norms(Graph& graph, int limit) {
  return apply(graph, limit, {recognise_norm, absorb_parameters, scale_parameters, recognise_softmax});
}

}  // namespace hone
