#include "backends/quantize.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "backends/integers.h"
#include "backends/problem.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "passes/layout/layout.h"

namespace hone {
namespace {

constexpr double kLeastPart = 1e-3;  // of a tensor's magnitude: a channel that hardly moved may move more

struct Weights {
  Tensor values;
  std::vector<double> scales;  // of each output channel
};

bool is_depthwise(const Op& op, const Dims& weights) {
  const auto* conv = op.as<Conv>();
  return conv != nullptr && conv->groups > 1 && weights[1] == 1;
}

Weights quantized(const Tensor& weights, const OutputChannels& channels, DType type) {
  Weights result{Tensor(type, weights.dims()), {}};
  std::vector<double>& scales = result.scales;
  scales.assign(static_cast<size_t>(channels.count), 0);
  const float* from = weights.data<float>();
  for (int64_t i = 0; i < weights.count(); ++i) {
    double& scale = scales[static_cast<size_t>(channels.of(i))];
    scale = std::max(scale, std::fabs(static_cast<double>(from[i])) / largest_of(type));
  }
  for (double& scale : scales) scale = scale > 0 ? scale : 1;
  for (int64_t i = 0; i < weights.count(); ++i) {
    const double value = from[i] / scales[static_cast<size_t>(channels.of(i))];
    result.values.set(i, type == DType::i8 ? std::nearbyint(value) : value);
  }
  return result;
}

// The weights that see a tensor in steps of one as the op's see it in floats.
Tensor in_steps(const Op& op, const Tensor& weights, std::span<const double> steps) {
  Tensor scaled(DType::f32, weights.dims());
  for (int64_t i = 0; i < weights.count(); ++i)
    scaled.mutable_data<float>()[i] =
        static_cast<float>(weights.data<float>()[i] * steps[static_cast<size_t>(input_channel(op, weights.dims(), i))]);
  return scaled;
}

bool is_finite(const Tensor& t) {
  const float* data = t.data<float>();
  return std::all_of(data, data + t.count(), [](float v) { return std::isfinite(v); });
}

class Quantizer {
 public:
  Quantizer(Graph& graph, DType type, const Thresholds& thresholds, const Machine& machine,
            const std::set<std::string>& floats, double exponent)
      : graph_(graph), type_(type), machine_(machine), floats_(floats), exponent_(exponent) {
    share_thresholds(thresholds);
  }

  Int8Network run() {
    Int8Network made;
    std::vector<Int8Layer>& layers = made.layers;
    for (NodeId id : graph_.order()) {
      const Node& node = graph_.node(id);
      if (node.op.as<Attention>() != nullptr && attention_can_be_in_bytes(id))
        layers.push_back({name_of(node), threshold(node.inputs[0]), refuse_by_name(node), id});
      if (node.op.as<Conv>() == nullptr && node.op.as<MatMul>() == nullptr) continue;
      layers.push_back({name_of(node), threshold(node.inputs[0]), refuse(id), id});
      if (layers.back().reason.empty()) anchors_.push_back(id);
    }
    for (NodeId id : anchors_) divide_channels(graph_.node(id).inputs[0]);
    for (Int8Layer& layer : layers)
      if (layer.reason.empty()) graph_.node(layer.node).op.as<Attention>() ? convert_attention(layer) : convert(layer);
    for (NodeId id : graph_.order()) quantize_all_but_one_sum(id);
    for (NodeId id : graph_.order())
      if (const auto averaged = average_bytes(id)) made.tensors.push_back(*averaged);
    const auto quantized = quantized_;
    for (const auto& [from, to] : quantized)
      if (redirect_readers(from)) made.tensors.push_back({given(from), step_of(from)});
    graph_.remove_dead();
    return made;
  }

 private:
  // Tensors of the same values share the largest of their thresholds.
  void share_thresholds(const Thresholds& thresholds) {
    const auto join = [&](ValueId a, ValueId b) {
      leader_[leader(a)] = leader(b);
      moved_.insert({a, b});
    };
    for (NodeId id : graph_.order()) {
      const Node& node = graph_.node(id);
      for (size_t i = 0; keeps_values(node.op) && i < data_inputs(node); ++i) join(node.inputs[i], node.outputs[0]);
    }
    const auto take = [&](ValueId v) {
      const std::vector<std::string> names = layout::framework_names(graph_, v);
      if (names.size() > 1) return take_side_by_side(v, names, thresholds);
      const auto found = thresholds.find(names[0]);
      if (found == thresholds.end()) return;
      double& shared = thresholds_[leader(v)];
      // e4m3 has an exponent: where it clips nothing, small values are as exact as large ones.
      const bool whole = type_ == DType::i8 || found->second.largest == 0;
      shared = std::max(shared, whole ? found->second.whole : found->second.largest);
      // For the same reason channels need no steps of their own.
      if (type_ == DType::i8 && !moved_.contains(v)) channels_[v] = found->second.channels;
    };
    for (ValueId v : graph_.inputs()) take(v);
    for (NodeId id : graph_.order())
      for (ValueId v : graph_.node(id).outputs) take(v);
  }

  // Queries, keys and values in one tensor have a step each, where all their thresholds are known.
  void take_side_by_side(ValueId v, std::span<const std::string> names, const Thresholds& thresholds) {
    std::array<double, 3> parts{};
    const Dim& channels = graph_.type(v).shape.dims.back();
    if (type_ != DType::i8 || names.size() != parts.size() || !channels.known()) return;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto found = thresholds.find(names[i]);
      if (found == thresholds.end() || !(found->second.whole > 0)) return;
      parts[i] = found->second.whole;
      const auto each = static_cast<size_t>(channels.value) / parts.size();
      steps_[v].insert(steps_[v].end(), each, parts[i] / largest_of(type_));
    }
    thresholds_[leader(v)] = *std::ranges::max_element(parts);
    side_by_side_[leader(v)] = parts;
  }

  std::string name_of(const Node& node) const {
    return node.sources.empty() ? layout::framework_name(graph_, node.outputs[0]) : node.sources.front();
  }

  ValueId leader(ValueId v) const {
    for (auto next = leader_.find(v); next != leader_.end() && next->second != v; next = leader_.find(v))
      v = next->second;
    return v;
  }

  // 0 when it is not known.
  double threshold(ValueId v) const {
    const auto found = thresholds_.find(leader(v));
    return found == thresholds_.end() ? 0 : found->second;
  }

  double step_of(ValueId v) const { return threshold(v) / largest_of(type_); }

  // Gives the tensor steps for each of its channels where that is possible.
  void divide_channels(ValueId v) {
    const auto known = channels_.find(v);
    if (known == channels_.end() || known->second.empty()) return;
    const auto is_layer = [&](NodeId id) { return std::ranges::find(anchors_, id) != anchors_.end(); };
    if (can_divide(graph_, v, known->second.size(), is_layer))
      steps_[v] = channel_steps(graph_, v, known->second, threshold(v), type_, exponent_);
  }

  std::string refuse_by_name(const Node& node) const {
    return floats_.contains(name_of(node)) ? "it is to stay in floats" : "";
  }

  // The thresholds of q, k and v; 0 where one is not known.
  std::array<double, 3> attended(const Node& node) const {
    if (node.op.as<Attention>()->layout != "packed")
      return {threshold(node.inputs[0]), threshold(node.inputs[1]), threshold(node.inputs[2])};
    if (const auto found = side_by_side_.find(leader(node.inputs[0])); found != side_by_side_.end())
      return found->second;
    const double all = threshold(node.inputs[0]);
    return {all, all, all};
  }

  bool attention_can_be_in_bytes(NodeId id) const {
    const Node& node = graph_.node(id);
    Problem problem = problem_of(graph_, id);
    const size_t data = node.op.as<Attention>()->layout == "packed" ? 1 : 3;
    for (size_t i = 0; i < data; ++i) {
      if (problem.inputs[i].dtype != DType::f32) return false;
      problem.inputs[i].dtype = DType::i8;
    }
    const auto known = attended(node);
    return type_ == DType::i8 && std::ranges::all_of(known, [](double t) { return t > 0; }) &&
           has_fast_kernel(problem, machine_);
  }

  std::string refuse(NodeId id) const {
    const ValueId data = graph_.node(id).inputs[0];
    const Problem before = problem_of(graph_, id);
    if (!before.is_constant(1)) return "its weights are not constant";
    if (before.inputs[0].dtype != DType::f32 || before.inputs[1].dtype != DType::f32) return "it is not in fp32";
    if (before.inputs[1].shape.rank() < 2) return "its weights are a vector";
    if (!is_finite(before.constants[1])) return "its weights are not finite";
    if (!(threshold(data) > 0)) return fmt::format("no range for '{}'", layout::framework_name(graph_, data));
    if (std::string reason = refuse_by_name(graph_.node(id)); !reason.empty()) return reason;
    const auto after = product_of(before, type_);
    return after && has_fast_kernel(*after, machine_)
               ? ""
               : fmt::format("no fast {} kernel can do it", precision_name(type_));
  }

  void convert(Int8Layer& layer) {
    const Node node = graph_.node(layer.node);
    const Tensor& given = graph_.value(node.inputs[1]).constant;
    const auto steps = steps_.find(node.inputs[0]);
    const bool divided = steps != steps_.end();
    const Weights weights = hone::quantized(divided ? in_steps(node.op, given, steps->second) : given,
                                            output_channels(node.op, given.dims()), type_);
    layer.steps = divided ? steps->second : std::vector{step_of(node.inputs[0])};
    const double step = divided ? 1 : layer.steps[0];
    Tensor scales(DType::f32, {static_cast<int64_t>(weights.scales.size())});
    for (size_t c = 0; c < weights.scales.size(); ++c)
      scales.mutable_data<float>()[c] = static_cast<float>(step * weights.scales[c]);
    const std::string name = graph_.value(node.inputs[1]).name;
    const TensorType type = graph_.type(node.outputs[0]);
    const ValueId product =
        add_value(graph_, node.op, {quantized(node.inputs[0]), graph_.add_constant(weights.values, name)},
                  {type_ == DType::i8 ? DType::i32 : DType::f32, type.shape}, node.sources);
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : ValueId::none;
    const ValueId result = add_rescaling(graph_, product, scales, bias, type, name + " scale");
    results_[result] = node.outputs[0];
    stand_for(node.outputs[0], result);
    layer.result = result;
  }

  void convert_attention(const Int8Layer& layer) {
    const Node node = graph_.node(layer.node);
    Attention op = *node.op.as<Attention>();
    const auto known = attended(node);
    const auto step = [&](size_t i) { return known[i] / largest_of(type_); };
    op.scale = op.scale_of(graph_.type(node.inputs[0]).shape) * step(0) * step(1);
    op.result_scale = step(2);
    std::vector<ValueId> inputs = node.inputs;
    for (size_t i = 0; i < 3; ++i)
      if (inputs[i] != ValueId::none) inputs[i] = quantized(inputs[i]);
    const ValueId result = add_value(graph_, op, inputs, graph_.type(node.outputs[0]), node.sources);
    stand_for(node.outputs[0], result);
  }

  // What is known of the old value holds for the new one.
  void stand_for(ValueId old, ValueId result) {
    graph_.set_name(result, graph_.value(old).name);
    leader_[result] = leader(old);
    if (const auto known = steps_.find(old); known != steps_.end()) steps_[result] = known->second;
    if (const auto made = quantized_.find(old); made != quantized_.end()) quantized_[result] = made->second;
    graph_.replace_uses(old, result);
  }

  // The tensor as it was called before its layer was converted.
  ValueId given(ValueId v) const {
    const auto found = results_.find(v);
    return found == results_.end() ? v : found->second;
  }

  // The tensor in 8 bits.
  ValueId quantized(ValueId v) {
    if (const auto made = quantized_.find(v); made != quantized_.end()) return made->second;
    const TensorType type{type_, graph_.type(v).shape};
    const NodeId producer = graph_.value(v).producer;
    ValueId result = producer == NodeId::none ? ValueId::none : moved(producer, type);
    if (result == ValueId::none) result = rounded(v, type);
    return quantized_[v] = result;
  }

  ValueId rounded(ValueId v, const TensorType& type) {
    const auto steps = steps_.find(v);
    const NodeId producer = graph_.value(v).producer;
    const bool attends = producer != NodeId::none && graph_.node(producer).op.as<Attention>() != nullptr;
    if (steps == steps_.end() && attends && graph_.type(graph_.node(producer).inputs[0]).dtype == type_)
      return rounded_attention(graph_.node(producer), threshold(v), type);
    if (steps == steps_.end())
      return add_value(graph_,
                       Pointwise{quantizing(type_, Fn::mul, static_cast<float>(largest_of(type_) / threshold(v)))}, {v},
                       type);
    Tensor factors(DType::f32, {static_cast<int64_t>(steps->second.size())});
    for (size_t c = 0; c < steps->second.size(); ++c)
      factors.mutable_data<float>()[c] = static_cast<float>(1 / steps->second[c]);
    const ValueId each = graph_.add_constant(factors, graph_.value(v).name + " factors");
    return add_value(graph_, Pointwise{quantizing_by_input(type_, Fn::mul)}, {v, each}, type);
  }

  // Attention in 8 bits whose result is, too.
  ValueId rounded_attention(const Node& node, double threshold, const TensorType& type) {
    Attention op = *node.op.as<Attention>();
    op.result_scale *= largest_of(type_) / threshold;
    op.quantizes = true;
    return add_value(graph_, op, node.inputs, type, node.sources);
  }

  // The node on 8 bits, or nothing where it does not only move values.
  ValueId moved(NodeId id, const TensorType& type) {
    if (!can_move(graph_, id, type_, machine_)) return ValueId::none;
    const Node node = graph_.node(id);
    std::vector<ValueId> inputs = node.inputs;
    for (size_t i = 0; i < data_inputs(node); ++i) inputs[i] = quantized(inputs[i]);
    return add_value(graph_, node.op, inputs, type, node.sources);
  }

  // Elementwise work that joins several products is done behind the last of them. The others must not leave their sums
  // for it, nor floats.
  void quantize_all_but_one_sum(NodeId id) {
    if (graph_.node(id).op.as<Pointwise>() == nullptr) return;
    std::vector<ValueId> sums;
    for (ValueId v : graph_.node(id).inputs)
      if (results_.contains(v) && threshold(v) > 0) sums.push_back(v);
    std::sort(sums.begin(), sums.end());
    for (size_t i = 0; i + 1 < sums.size(); ++i) quantized(sums[i]);
  }

  // Whether layers in 8 bits make a tensor, with elementwise work behind them.
  bool is_made_by_layers(ValueId v) const {
    if (results_.contains(v)) return true;
    const NodeId producer = graph_.value(v).producer;
    if (producer == NodeId::none) return false;
    const Node& node = graph_.node(producer);
    if (node.op.as<Pointwise>() != nullptr)
      return std::ranges::any_of(node.inputs, [&](ValueId input) { return results_.contains(input); });
    return keeps_values(node.op) && std::all_of(node.inputs.begin(), node.inputs.begin() + data_inputs(node),
                                                [&](ValueId input) { return is_made_by_layers(input); });
  }

  // The mean over an image, as ahead of a classifier, reads bytes where nothing else reads the image: the last layer
  // then writes bytes as the others do. What rounding adds to a mean is less than to one value.
  std::optional<Int8Tensor> average_bytes(NodeId id) {
    const Node node = graph_.node(id);
    if (type_ != DType::i8 || node.op.as<Reduce>() == nullptr) return std::nullopt;
    const ValueId v = node.inputs[0];
    const bool alone = graph_.value(v).users.size() == 1 && std::ranges::count(graph_.outputs(), v) == 0;
    if (!alone || steps_.contains(v) || !(threshold(v) > 0) || !is_made_by_layers(v)) return std::nullopt;
    const auto step = static_cast<float>(step_of(v));
    const auto mean = add_byte_mean(graph_, id, quantized(v), step, 0, machine_);
    if (!mean) return std::nullopt;
    graph_.set_name(*mean, graph_.value(node.outputs[0]).name);
    graph_.replace_uses(node.outputs[0], *mean);
    return Int8Tensor{given(v), step_of(v)};
  }

  // Elementwise work on a quantised tensor reads its 8-bit values. Whether there is any.
  bool redirect_readers(ValueId v) {
    bool any = false;
    const ValueId values = quantized_.at(v);
    const auto scale = static_cast<float>(step_of(v));
    for (NodeId user : std::vector(graph_.value(v).users)) {
      const auto inputs = graph_.node(user).inputs;
      if (graph_.node(user).op.as<Pointwise>() == nullptr || graph_.node(user).outputs[0] == values) continue;
      for (size_t i = 0; i < inputs.size(); ++i)
        if (inputs[i] == v) {
          graph_.set_input(user, i, add_value(graph_, Pointwise{dequantizing(type_, scale)}, {values}, graph_.type(v)));
          any = true;
        }
    }
    return any;
  }

  Graph& graph_;
  const DType type_;
  const Machine& machine_;
  const std::set<std::string>& floats_;
  const double exponent_;
  std::vector<NodeId> anchors_;
  std::map<ValueId, ValueId> leader_;                      // towards the value whose threshold a tensor shares
  std::map<ValueId, double> thresholds_;                   // of leaders
  std::map<ValueId, std::array<double, 3>> side_by_side_;  // of leaders: thresholds of what lies in one tensor
  std::set<ValueId> moved_;                                // read or made by what keeps values: of one scale
  std::map<ValueId, std::vector<double>> channels_;        // magnitudes of channels
  std::map<ValueId, std::vector<double>> steps_;           // what 1 stands for in each channel, where channels differ
  std::map<ValueId, ValueId> quantized_;
  std::map<ValueId, ValueId> results_;  // of converted anchors, in f32, and what they stand for
};

}  // namespace

bool can_divide(const Graph& graph, ValueId v, size_t channels, const std::function<bool(NodeId)>& is_layer) {
  const Shape& shape = graph.type(v).shape;
  const NodeId producer = graph.value(v).producer;
  const auto moves = [&](NodeId id) { return keeps_values(graph.node(id).op); };
  if (shape.rank() < 2 || shape.dims.back() != Dim(static_cast<int64_t>(channels))) return false;
  if (producer != NodeId::none && moves(producer)) return false;
  const bool image = producer != NodeId::none && graph.node(producer).op.as<Conv>() != nullptr;
  return std::ranges::all_of(graph.value(v).users, [&](NodeId user) {
    const Node& node = graph.node(user);
    if (moves(user) || !is_layer(user) || node.inputs[1] == v) return false;
    if (const auto* conv = node.op.as<Conv>()) return conv->channels_last;
    return !image && !node.op.as<MatMul>()->trans_a && graph.type(node.inputs[1]).shape.rank() == 2;
  });
}

std::vector<double> channel_steps(const Graph& graph, ValueId v, std::span<const double> magnitudes, double whole,
                                  DType type, double exponent) {
  const bool depthwise = std::ranges::all_of(graph.value(v).users, [&](NodeId user) {
    return is_depthwise(graph.node(user).op, graph.value(graph.node(user).inputs[1]).constant.dims());
  });
  std::vector<double> steps;
  for (const double magnitude : magnitudes) {
    const double part = std::clamp(magnitude / whole, kLeastPart, 1.0);
    steps.push_back(whole / largest_of(type) * std::pow(part, depthwise ? 1 : exponent));
  }
  return steps;
}

Tensor rounded_weights(const Op& op, const Tensor& weights, std::span<const double> steps, DType type) {
  const OutputChannels outputs = output_channels(op, weights.dims());
  const Weights small = quantized(steps.empty() ? weights : in_steps(op, weights, steps), outputs, type);
  Tensor result(DType::f32, weights.dims());
  for (int64_t i = 0; i < weights.count(); ++i) {
    const double value = small.values.at(i) * small.scales[static_cast<size_t>(outputs.of(i))];
    const auto input = static_cast<size_t>(steps.empty() ? 0 : input_channel(op, weights.dims(), i));
    result.mutable_data<float>()[i] = static_cast<float>(steps.empty() ? value : value / steps[input]);
  }
  return result;
}

Int8Network quantize(Graph& graph, const Thresholds& thresholds, const Machine& machine,
                     const std::set<std::string>& floats, DType type, double exponent) {
  return Quantizer(graph, type, thresholds, machine, floats, exponent).run();
}

}  // namespace hone
