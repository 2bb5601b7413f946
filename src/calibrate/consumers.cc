#include "calibrate/consumers.h"

#include <algorithm>

#include "backends/quantize.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "passes/rewrite.h"

namespace hone::calibrate {
namespace {

constexpr float kLevels = 127;
constexpr float kRound = 12582912;  // 1.5 * 2^23: added and taken off, it leaves the nearest integer of a small number

bool is_weighted(const Graph& graph, NodeId id) {
  return rewrite::op_of<Conv>(graph, id) || rewrite::op_of<ConvTranspose>(graph, id) ||
         rewrite::op_of<MatMul>(graph, id);
}

// Whether a layer has constant weights, which become integers.
bool has_rounded_weights(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op.as<Conv>() == nullptr && node.op.as<MatMul>() == nullptr) return false;
  const Tensor& weights = graph.value(node.inputs[1]).constant;
  return weights.defined() && weights.type() == DType::f32 && weights.rank() >= 2;
}

// What int8 leaves of x, of one step or of one for each channel on the last axis.
Tensor rounded(const Tensor& x, std::span<const double> steps) {
  Tensor out(DType::f32, x.dims());
  std::vector<float> by, inverse;
  for (const double step : steps) {
    by.push_back(static_cast<float>(step));
    inverse.push_back(static_cast<float>(1 / step));
  }
  const float* from = x.data<float>();
  float* to = out.mutable_data<float>();
  for (size_t i = 0, c = 0; i < static_cast<size_t>(x.count()); ++i, c = c + 1 < by.size() ? c + 1 : 0)
    to[i] = ((std::clamp(from[i] * inverse[c], -kLevels, kLevels) + kRound) - kRound) * by[c];
  return out;
}

ValueId before_transpose(const Graph& graph, ValueId v) { return rewrite::input(graph, graph.value(v).producer, 0); }

// Sum of squares of y - z, relative to that of y.
double relative_error(const Tensor& y, const Tensor& z) {
  double error = 0, power = 0;
  for (int64_t i = 0; i < y.count(); ++i) {
    const double a = static_cast<double>(y.data<float>()[i]), b = static_cast<double>(z.data<float>()[i]);
    error += (a - b) * (a - b);
    power += a * a;
  }
  return power > 0 ? error / power : 0;
}

}  // namespace

Consumers::Consumers(const ObservedModel& model, const CompileOptions& options)
    : model_(model), options_(options), layers_(model.tensors().size()) {
  if (options.target != "reference") options_.target = "cpu";
  options_.tune = false;
  options_.threads = 1;
  options_.progress = {};
  const Graph& graph = model.graph();
  std::map<ValueId, size_t> observed;
  for (size_t k = 0; k < layers_.size(); ++k) observed.emplace(graph.outputs()[k], k);
  for (NodeId id : graph.order()) {
    if (!is_weighted(graph, id)) continue;
    Layer layer{id, {}, nullptr, nullptr};
    bool usable = true;
    for (ValueId v : graph.node(id).inputs) {
      if (v == ValueId::none || graph.value(v).is_constant()) continue;
      while (!observed.contains(v) && rewrite::producer<Transpose>(graph, v)) v = before_transpose(graph, v);
      const auto found = observed.find(v);
      usable = usable && found != observed.end() && graph.type(v).dtype == DType::f32;
      if (usable) layer.inputs.push_back(found->second);
    }
    for (size_t k = 0; usable && k < layers_.size(); ++k)
      if (std::ranges::find(layer.inputs, k) != layer.inputs.end())
        layers_[k].push_back({id, layer.inputs, nullptr, nullptr});
  }
}

// The layer as a network of its own, from the observed tensors on, with these weights in the place of constant ones.
Result<std::shared_ptr<const LoadedEngine>> Consumers::engine_of(const Layer& layer, const Tensor& weights) {
  const Graph& from = model_.graph();
  const Node& node = from.node(layer.node);
  Graph graph;
  std::vector<ValueId> operands;
  for (ValueId v : node.inputs) {
    if (v == ValueId::none) operands.push_back(v);
    else if (operands.size() == 1 && weights.defined()) operands.push_back(graph.add_constant(weights));
    else if (from.value(v).is_constant()) operands.push_back(graph.add_constant(from.value(v).constant));
    else {
      const ValueId source = from.outputs()[layer.inputs[graph.inputs().size()]];
      std::vector<Op> transposes;
      for (; v != source; v = before_transpose(from, v)) transposes.push_back(from.node(from.value(v).producer).op);
      operands.push_back(graph.add_input(fmt::format("{}", graph.inputs().size()), from.type(source)));
      for (auto op = transposes.rbegin(); op != transposes.rend(); ++op) {
        HONE_TRY(const NodeId transpose, graph.add_node(*op, {operands.back()}));
        operands.back() = graph.node(transpose).outputs[0];
      }
    }
  }
  HONE_TRY(const NodeId result, graph.add_node(node.op, operands, 1, node.sources));
  graph.add_output(graph.node(result).outputs[0], "y");
  HONE_TRY(EngineData data, compile_graph(graph, options_));
  return LoadedEngine::make(std::move(data));
}

Status Consumers::compile(Layer& layer, std::span<const double> steps) {
  const Node& node = model_.graph().node(layer.node);
  HONE_TRY(layer.exact, engine_of(layer, {}));
  const Tensor& weights = model_.graph().value(node.inputs[1]).constant;
  if (!has_rounded_weights(model_.graph(), layer.node)) return {};
  HONE_TRY(layer.rounded, engine_of(layer, rounded_weights(node.op, weights, steps, DType::i8)));
  return {};
}

std::vector<double> Consumers::steps_of(size_t k, std::span<const double> magnitudes, double threshold) const {
  const Graph& graph = model_.graph();
  const ValueId v = graph.outputs()[k];
  const auto is_layer = [&](NodeId id) { return has_rounded_weights(graph, id); };
  return !magnitudes.empty() && can_divide(graph, v, magnitudes.size(), is_layer)
             ? channel_steps(graph, v, magnitudes, threshold, DType::i8)
             : std::vector<double>();
}

std::set<size_t> Consumers::needs(size_t k) const {
  std::set<size_t> needed;
  for (const Layer& layer : layers_[k]) needed.insert(layer.inputs.begin(), layer.inputs.end());
  return needed;
}

Status Consumers::add_errors(size_t k, const Tensors& values, std::span<const double> magnitudes,
                             std::span<const double> thresholds, std::span<double> errors) {
  for (Layer& layer : layers_[k]) {
    // How channels share their scales with the weights is much the same at all thresholds.
    if (!layer.exact) HONE_CHECK(compile(layer, steps_of(k, magnitudes, thresholds.back())));
    const auto run = [&](std::shared_ptr<const LoadedEngine> engine, const Tensor& x) -> Result<Tensor> {
      ExecutionContext context(std::move(engine));  // whose memory is not kept: there are many layers
      for (size_t i = 0; i < layer.inputs.size(); ++i)
        HONE_CHECK(context.bind_input(fmt::format("{}", i), layer.inputs[i] == k ? x : values[layer.inputs[i]]));
      HONE_CHECK(context.run());
      return context.output(0);
    };
    HONE_TRY(const Tensor exact, run(layer.exact, values[k]));
    for (size_t t = 0; t < thresholds.size(); ++t) {
      std::vector<double> steps = steps_of(k, magnitudes, thresholds[t]);
      if (steps.empty()) steps = {thresholds[t] / static_cast<double>(kLevels)};
      HONE_TRY(const Tensor got, run(layer.rounded ? layer.rounded : layer.exact, rounded(values[k], steps)));
      errors[t] += relative_error(exact, got);
    }
  }
  return {};
}

}  // namespace hone::calibrate
