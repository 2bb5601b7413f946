#include "backends/value_bounds.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/gather.h"
#include "ops/lrn.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/numbers.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/resize.h"
#include "ops/rnn.h"

namespace hone {
namespace {

constexpr Interval kZero{0, 0};

Interval bound_of_constant(const Tensor& t) {
  if (!is_numeric(t.type()) && t.type() != DType::boolean) return {};
  Interval bound{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  dispatch(t.type(), [&](auto zero) {
    using Element = decltype(zero);
    const Element* data = t.data<Element>();
    for (int64_t i = 0; i < t.count(); ++i) {
      double v = 0;
      if constexpr (std::is_same_v<Element, f16> || std::is_same_v<Element, bf16>) v = to_float(data[i]);
      else v = static_cast<double>(data[i]);
      bound = {std::min(bound.low, v), std::max(bound.high, v)};  // NaN moves neither
    }
  });
  return bound.low <= bound.high ? bound : Interval{};
}

// A node and what is known of its inputs.
struct Site {
  const Graph& graph;
  const Node& node;
  Bounds& bounds;

  bool has(size_t i) const { return i < node.inputs.size() && node.inputs[i] != ValueId::none; }
  const TensorType& type(size_t i) const { return graph.type(node.inputs[i]); }
  const Tensor& constant(size_t i) const { return graph.value(node.inputs[i]).constant; }
  bool is_constant(size_t i) const { return has(i) && constant(i).defined(); }
  Interval at(size_t i) const {
    const ValueId v = node.inputs[i];
    const auto found = bounds.find(v);
    if (found != bounds.end()) return found->second;
    return bounds[v] = is_constant(i) ? bound_of_constant(constant(i)) : all_of(type(i).dtype);
  }
  // Of an input that may be absent.
  Interval at_or(size_t i, const Interval& otherwise) const { return has(i) ? at(i) : otherwise; }
};

// How many elements of `from` there are for each one of `to`; not a number where a dim is open.
double elements_each(const TensorType& from, const TensorType& to) {
  const auto a = from.shape.concrete(), b = to.shape.concrete();
  if (!a || !b) return std::nan("");
  return static_cast<double>(element_count(*a)) / static_cast<double>(std::max<int64_t>(element_count(*b), 1));
}

// Weights as [outer, terms, inner, taps], of which sums over terms and taps are made.
struct Sums {
  int64_t outer = 1, terms = 1, inner = 1, taps = 1;
};

// What sums of weights times numbers in `x` lie in.
Interval bound_of_sums(const Tensor& weights, const Sums& sums, const Interval& x) {
  if (std::isinf(x.magnitude()) || weights.count() == 0) return {};
  const auto numbers = numbers_of<double>(weights);
  std::vector<double> above, below;  // sums of the weights above and below 0
  const double* w = numbers.data();
  Interval bound{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (int64_t o = 0; o < sums.outer; ++o) {
    above.assign(static_cast<size_t>(sums.inner), 0);
    below.assign(static_cast<size_t>(sums.inner), 0);
    for (int64_t k = 0; k < sums.terms; ++k)
      for (size_t i = 0; i < above.size(); ++i)
        for (int64_t t = 0; t < sums.taps; ++t, ++w) (*w > 0 ? above : below)[i] += *w;
    for (size_t i = 0; i < above.size(); ++i) bound = hull(bound, sum(scaled(x, above[i]), scaled(x, below[i])));
  }
  return bound;
}

// Where a tap meets padding it adds nothing.
Interval conv(const Site& s, size_t) {
  if (!s.is_constant(1)) return {};
  const Tensor& w = s.constant(1);
  const Sums sums{.outer = w.dims()[0], .taps = w.count() / std::max<int64_t>(w.dims()[0], 1)};
  return sum(bound_of_sums(w, sums, hull(s.at(0), kZero)), s.at_or(2, kZero));
}

Interval conv_transpose(const Site& s, size_t) {
  if (!s.is_constant(1)) return {};
  const Tensor& w = s.constant(1);
  const int64_t groups = s.node.op.as<ConvTranspose>()->groups, in = w.dims()[0], out = w.dims()[1];
  const Sums sums{groups, in / groups, out, w.count() / std::max<int64_t>(in * out, 1)};
  return sum(bound_of_sums(w, sums, hull(s.at(0), kZero)), s.at_or(2, kZero));
}

// By a constant operand whose last dim is summed over, or the one before.
Interval product_with(const Tensor& constant, const Interval& x, bool over_last) {
  const Dims& d = constant.dims();
  const int64_t last = std::max<int64_t>(d.back(), 1);
  if (d.size() < 2 || over_last) return bound_of_sums(constant, {.outer = constant.count() / last, .taps = last}, x);
  const int64_t terms = std::max<int64_t>(d[d.size() - 2], 1);
  return bound_of_sums(constant, {constant.count() / (terms * last), terms, last}, x);
}

Interval matmul(const Site& s, size_t) {
  const MatMul& op = *s.node.op.as<MatMul>();
  const Interval bias = s.at_or(2, kZero);
  if (s.is_constant(1) && s.constant(1).rank() > 0) return sum(product_with(s.constant(1), s.at(0), op.trans_b), bias);
  if (s.is_constant(0) && s.constant(0).rank() > 0) return sum(product_with(s.constant(0), s.at(1), !op.trans_a), bias);
  const auto a = s.type(0).shape.concrete();
  if (!a || a->empty()) return {};
  const int64_t terms = op.trans_a ? (*a)[a->size() - 2] : a->back();
  return sum(scaled(product(s.at(0), s.at(1)), static_cast<double>(terms)), bias);
}

Interval matmul_nbits(const Site& s, size_t) {
  const auto a = s.type(0).shape.concrete();
  for (size_t i = 1; i < 4; ++i)
    if (!s.is_constant(i)) return {};
  if (!a || a->empty()) return {};
  const Tensor weights =
      dequantized_weights(*s.node.op.as<MatMulNBits>(), a->back(), s.constant(1), s.constant(2), s.constant(3));
  return sum(product_with(weights, s.at(0), true), s.at_or(4, kZero));
}

// Means of values, or nothing where all keys are masked.
Interval attention(const Site& s, size_t output) {
  const Attention& op = *s.node.op.as<Attention>();
  if (output > 0) return op.scores_output == "softmax" ? Interval{0, 1} : Interval{};
  return hull(s.at(op.layout == "packed" ? 0 : 2), kZero);
}

Interval softmax(const Site& s, size_t) {
  return s.node.op.as<Softmax>()->log ? Interval{-std::numeric_limits<double>::infinity(), 0} : Interval{0, 1};
}

// Of `count` elements whose mean square is 1 none is larger than this.
Interval normalised(const Site& s, double count) {
  if (std::isnan(count)) return {};
  const double most = std::sqrt(count);
  return sum(product({-most, most}, s.at_or(1, {1, 1})), s.at_or(2, kZero));
}

Interval layer_norm(const Site& s, size_t output) {
  const LayerNorm& op = *s.node.op.as<LayerNorm>();
  const auto x = s.type(0).shape.concrete();
  if (output > 0 || !x) return {};
  const size_t from = static_cast<size_t>(op.axis < 0 ? op.axis + s.type(0).shape.rank() : op.axis);
  return normalised(s, static_cast<double>(element_count(std::span(*x).subspan(from))));
}

Interval group_norm(const Site& s, size_t) {
  const GroupNorm& op = *s.node.op.as<GroupNorm>();
  const auto x = s.type(0).shape.concrete();
  if (!x || x->size() < 2) return {};
  const int64_t channels = op.channels_last ? x->back() : (*x)[1];
  const int64_t groups = op.groups > 0 ? op.groups : channels;
  return normalised(
      s, static_cast<double>(element_count(*x)) / static_cast<double>(std::max<int64_t>((*x)[0] * groups, 1)));
}

Interval lrn(const Site& s, size_t) {
  const Lrn& op = *s.node.op.as<Lrn>();
  if (!(op.bias > 0 && op.alpha >= 0 && op.beta >= 0)) return {};
  return product(s.at(0), {0, std::pow(op.bias, -op.beta)});
}

Interval pool(const Site& s, size_t output) {
  const Pool& op = *s.node.op.as<Pool>();
  if (output > 0 || op.kind == "lp") return {};
  return op.kind == "max" ? s.at(0) : hull(s.at(0), kZero);
}

struct Reduction {
  std::string_view kind;
  Interval (*bound)(const Interval& x, double count);
};
constexpr Reduction kReductions[] = {{"mean", [](const Interval& x, double) { return x; }},
                                     {"max", [](const Interval& x, double) { return x; }},
                                     {"min", [](const Interval& x, double) { return x; }},
                                     {"sum", [](const Interval& x, double n) { return scaled(x, n); }},
                                     {"sum_i32", [](const Interval& x, double n) { return scaled(x, n); }},
                                     {"l1",
                                      [](const Interval& x, double n) {
                                        return Interval{0, n * x.magnitude()};
                                      }},
                                     {"l2",
                                      [](const Interval& x, double n) {
                                        return Interval{0, std::sqrt(n) * x.magnitude()};
                                      }},
                                     {"sum_square",
                                      [](const Interval& x, double n) {
                                        return Interval{0, n * x.magnitude() * x.magnitude()};
                                      }},
                                     {"log_sum_exp", [](const Interval& x, double n) {
                                        return Interval{x.low, x.high + std::log(n)};
                                      }}};

Interval reduce(const Site& s, size_t) {
  const double count = elements_each(s.type(0), s.graph.type(s.node.outputs[0]));
  const auto row = std::ranges::find(kReductions, s.node.op.as<Reduce>()->kind, &Reduction::kind);
  return std::isnan(count) || count < 1 || row == std::end(kReductions) ? Interval{} : row->bound(s.at(0), count);
}

Interval resize(const Site& s, size_t) {
  const Resize& op = *s.node.op.as<Resize>();
  return op.mode == "cubic" ? Interval{} : hull(s.at(0), {op.extrapolation_value, op.extrapolation_value});
}

// States are products or means of what sigmoid and tanh give, and of states before.
Interval rnn(const Site& s, size_t output) {
  const Rnn& op = *s.node.op.as<Rnn>();
  const bool bounded =
      std::ranges::all_of(op.activations, [](const std::string& name) { return name == "sigmoid" || name == "tanh"; });
  return output > 1 || !bounded ? Interval{} : hull({-1, 1}, s.at_or(5, kZero));
}

Interval pad(const Site& s, size_t) {
  return s.node.op.as<Pad>()->mode == "constant" ? hull(s.at(0), s.at_or(2, kZero)) : s.at(0);
}

Interval concat(const Site& s, size_t) {
  Interval bound = s.at(0);
  for (size_t i = 1; i < s.node.inputs.size(); ++i) bound = hull(bound, s.at(i));
  return bound;
}

Interval pointwise(const Site& s, size_t) {
  std::vector<Interval> inputs;
  for (size_t i = 0; i < s.node.inputs.size(); ++i) inputs.push_back(s.at(i));
  return bound_of(s.node.op.as<Pointwise>()->program, inputs);
}

Interval of_the_first_input(const Site& s, size_t) { return s.at(0); }

// Ops without a row can give anything.
struct Row {
  std::string_view op;
  Interval (*bound)(const Site& site, size_t output);
};
constexpr Row kRows[] = {{"Pointwise", pointwise},
                         {"Conv", conv},
                         {"ConvTranspose", conv_transpose},
                         {"MatMul", matmul},
                         {"MatMulNBits", matmul_nbits},
                         {"Attention", attention},
                         {"Softmax", softmax},
                         {"LayerNorm", layer_norm},
                         {"GroupNorm", group_norm},
                         {"Lrn", lrn},
                         {"Pool", pool},
                         {"Reduce", reduce},
                         {"Resize", resize},
                         {"Rnn", rnn},
                         {"Pad", pad},
                         {"Concat", concat},
                         {"Transpose", of_the_first_input},
                         {"Reshape", of_the_first_input},
                         {"Split", of_the_first_input},
                         {"Slice", of_the_first_input},
                         {"Squeeze", of_the_first_input},
                         {"Unsqueeze", of_the_first_input},
                         {"Expand", of_the_first_input},
                         {"Tile", of_the_first_input},
                         {"Gather", of_the_first_input},
                         {"GatherElements", of_the_first_input},
                         {"GatherND", of_the_first_input}};

Interval narrowed(const Interval& bound, const Bounds& known, ValueId v) {
  const auto found = known.find(v);
  if (found == known.end()) return bound;
  const Interval both{std::max(bound.low, found->second.low), std::min(bound.high, found->second.high)};
  return both.low <= both.high ? both : found->second;
}

}  // namespace

Bounds value_bounds(const Graph& graph, const Bounds& known) {
  Bounds bounds;
  for (ValueId v : graph.inputs()) bounds[v] = narrowed(all_of(graph.type(v).dtype), known, v);
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const auto row = std::ranges::find(kRows, node.op.name(), &Row::op);
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const DType type = graph.type(node.outputs[k]).dtype;
      const Interval bound = row == std::end(kRows) ? all_of(type) : stored(row->bound({graph, node, bounds}, k), type);
      bounds[node.outputs[k]] = narrowed(bound, known, node.outputs[k]);
    }
  }
  return bounds;
}

}  // namespace hone
