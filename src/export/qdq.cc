#include "export/qdq.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "backends/integers.h"
#include "base/cpu_info.h"
#include "compile/bias_correction.h"
#include "compile/smoothing.h"
#include "export/onnx_edit.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "passes/layout/layout.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

using export_onnx::ModelEdit;

constexpr int64_t kOpset = 13;         // the first with scales by channel
constexpr double kSameWeights = 1e-4;  // of a channel's largest: what folding scales into weights may round
constexpr double kLargest = 127;
constexpr std::string_view kLayerOps[] = {"Conv", "MatMul", "Gemm"};
constexpr std::string_view kQuantisedOps[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"};

const onnx::AttributeProto* attribute(const onnx::NodeProto& node, std::string_view name) {
  for (const auto& a : node.attribute())
    if (a.name() == name) return &a;
  return nullptr;
}

// Where the weights of an ONNX node lie in those of a layer of the graph.
struct WeightMap {
  int64_t outputs = 0, axis = 0;                            // output channels, and their axis in the file
  std::function<int64_t(int64_t)> output, input, in_layer;  // of element i in the file: channels, element in the layer
};

// A node of the file that is to be computed in int8.
struct QdqNode {
  WeightMap map;
  Tensor weights;               // of the file
  std::vector<double> steps;    // of what it reads: one, or one for each channel
  std::vector<double> offsets;  // of its output channels; empty: none
};

// The weights of a node whose first output channel is number `first` among the layer's.
WeightMap weight_map(const onnx::NodeProto& file_node, const Dims& in_file, const Op& op, const Dims& in_layer,
                     int64_t first) {
  WeightMap map;
  if (op.as<Conv>() != nullptr) {
    const int64_t inner = element_count(in_file) / in_file[0];
    map.outputs = in_file[0];
    map.output = [inner](int64_t i) { return i / inner; };
    map.input = [op, in_layer](int64_t i) { return input_channel(op, in_layer, i); };
    map.in_layer = [](int64_t i) { return i; };
    return map;
  }
  const auto* turned = attribute(file_node, "transB");
  const bool rows = turned != nullptr && turned->i() != 0;  // an output channel is a row
  const int64_t width = in_file[1], depth = in_layer[op.as<MatMul>()->trans_b ? 1 : 0],
                all = in_layer[op.as<MatMul>()->trans_b ? 0 : 1];
  const bool layer_rows = op.as<MatMul>()->trans_b;
  map.outputs = in_file[rows ? 0 : 1];
  map.axis = rows ? 0 : 1;
  map.output = [=](int64_t i) { return rows ? i / width : i % width; };
  map.input = [=](int64_t i) { return rows ? i % width : i / width; };
  map.in_layer = [=, output = map.output, input = map.input](int64_t i) {
    return layer_rows ? (first + output(i)) * depth + input(i) : input(i) * all + first + output(i);
  };
  return map;
}

// By how much each output channel of the layer's weights exceeds the file's; nothing where they differ otherwise.
std::optional<std::vector<double>> gains(const WeightMap& map, const Tensor& file, const Tensor& layer) {
  std::vector<double> gain(static_cast<size_t>(map.outputs), 1), largest(gain.size(), 0);
  for (int64_t i = 0; i < file.count(); ++i) {
    const auto o = static_cast<size_t>(map.output(i));
    if (std::fabs(file.at(i)) <= largest[o]) continue;
    largest[o] = std::fabs(file.at(i));
    gain[o] = layer.at(map.in_layer(i)) / file.at(i);
  }
  for (int64_t i = 0; i < file.count(); ++i) {
    const auto o = static_cast<size_t>(map.output(i));
    const double want = gain[o] * file.at(i), bound = kSameWeights * std::fabs(gain[o]) * largest[o];
    if (!(std::fabs(layer.at(map.in_layer(i)) - want) <= bound) || gain[o] == 0) return std::nullopt;
  }
  return gain;
}

class QdqWriter {
 public:
  QdqWriter(ModelEdit& edit, const CompileOptions& options) : edit_(edit), options_(options) {
    const auto& nodes = edit.model().graph().node();
    for (int k = 0; k < nodes.size(); ++k)
      places_.emplace(nodes[k].name().empty() && nodes[k].output_size() > 0 ? nodes[k].output(0) : nodes[k].name(), k);
  }

  // Plans the nodes that a layer in int8 was made of; says why that is not possible. `floats`: the graph before int8.
  std::string plan(const Graph& floats, const Int8Layer& layer, std::span<const double> offsets) {
    const Node& node = floats.node(layer.node);
    if (node.op.as<Attention>() != nullptr) return "attention is written in floats";
    const Tensor& weights = floats.value(node.inputs[1]).constant;
    std::map<int, QdqNode> planned;
    int64_t first = 0;
    const int64_t all = output_channels(node.op, weights.dims()).count;
    for (const std::string& source : node.sources) {
      const auto place = places_.find(source);
      if (place == places_.end()) continue;
      const onnx::NodeProto& file_node = edit_.model().graph().node(place->second);
      if (std::ranges::find(kLayerOps, file_node.op_type()) == std::end(kLayerOps)) continue;
      QdqNode& to = planned[place->second];
      to.weights = edit_.constant(file_node.input(1));
      if (!to.weights.defined()) return "its weights are no constant of the file";
      if ((node.op.as<Conv>() != nullptr) != (file_node.op_type() == "Conv")) return "it became another op";
      if (node.op.as<MatMul>() != nullptr && (to.weights.rank() != 2 || weights.rank() != 2))
        return "its weights are no matrix";
      to.map = weight_map(file_node, to.weights.dims(), node.op, weights.dims(), first);
      if (first + to.map.outputs > all || to.weights.count() * all != weights.count() * to.map.outputs)
        return "its weights have another shape";
      const auto gain = gains(to.map, to.weights, weights);
      if (!gain) return "its weights are not the file's";
      to.steps = steps_of(floats, node, layer, file_node.input(0));
      if (to.steps.empty()) return fmt::format("no range for '{}'", file_node.input(0));
      // What the layer has and the node's own result has not: a batch norm, for instance, but not a Gemm's alpha.
      const auto* alpha = attribute(file_node, "alpha");
      const double own = alpha == nullptr ? 1 : static_cast<double>(alpha->f());
      for (size_t o = 0; o < gain->size() && !offsets.empty(); ++o)
        to.offsets.push_back(offsets[static_cast<size_t>(first) + o] * own / (*gain)[o]);
      first += to.map.outputs;
    }
    if (first != all) return "no node of the file is this layer alone";
    for (auto& [place, to] : planned) layers_[place] = std::move(to);
    return {};
  }

  // Elementwise nodes, and a mean that alone reads the tensor, are to read its int8 values.
  void plan_reads(const Graph& floats, const Int8Tensor& tensor) {
    const std::string name = layout::framework_name(floats, tensor.value);
    const auto& users = floats.value(tensor.value).users;
    for (NodeId user : users) {
      const Op& op = floats.node(user).op;
      const bool averages = op.as<Reduce>() != nullptr && users.size() == 1;
      if (op.as<Pointwise>() == nullptr && !averages) continue;
      for (const std::string& source : floats.node(user).sources)
        if (const auto place = places_.find(source); place != places_.end())
          reads_[{place->second, name}] = tensor.step;
    }
  }

  Result<std::string> write() {
    const auto nodes = edit_.model().graph().node();
    for (int k = 0; k < nodes.size(); ++k) {
      onnx::NodeProto node = nodes[k];
      for (std::string& name : *node.mutable_input())
        if (const auto step = reads_.find({k, name}); step != reads_.end())
          name = quantised(name, {static_cast<float>(step->second)}, 1);
      const auto layer = layers_.find(k);
      if (layer == layers_.end()) edit_.append(std::move(node));
      else write_layer(std::move(node), layer->second);
    }
    return edit_.finish();
  }

 private:
  // Those of the layer where the node reads the same tensor; else, as of what was only moved on its way, one.
  std::vector<double> steps_of(const Graph& floats, const Node& node, const Int8Layer& layer,
                               const std::string& name) const {
    if (layout::framework_name(floats, node.inputs[0]) == name) return layer.steps;
    const auto known = options_.thresholds.find(name);
    if (known == options_.thresholds.end() || !(known->second.whole > 0)) return {};
    return {known->second.whole / kLargest};
  }

  // The tensor behind QuantizeLinear and DequantizeLinear. Channels, where they have steps of their own, are followed
  // by `inner` more dims; the values are in steps then.
  std::string quantised(const std::string& name, const std::vector<float>& steps, int64_t inner) {
    const auto [made, added] = quantised_.emplace(std::pair(name, steps), "");
    if (!added) return made->second;
    std::string x = name;
    float scale = steps[0];
    if (steps.size() > 1) {
      Dims dims{static_cast<int64_t>(steps.size())};
      dims.resize(static_cast<size_t>(1 + inner), 1);
      Tensor factors(DType::f32, dims);
      for (size_t c = 0; c < steps.size(); ++c) factors.mutable_data<float>()[c] = 1 / steps[c];
      x = edit_.add_node("Mul", {x, edit_.add_constant(name + "_factors", factors)}, name + "_in_steps");
      scale = 1;
    }
    const std::string step = edit_.add_constant(name + "_scale", Tensor::scalar(static_cast<double>(scale))),
                      zero = edit_.add_constant(name + "_zero", Tensor::scalar(0.0, DType::i8));
    const std::string q = edit_.add_node("QuantizeLinear", {x, step, zero}, name + "_quantized");
    return made->second = edit_.add_node("DequantizeLinear", {q, step, zero}, name + "_dequantized");
  }

  std::string quantised_weights(const std::string& name, const QdqNode& layer) {
    Tensor scaled(DType::f32, layer.weights.dims()), values(DType::i8, layer.weights.dims());
    Tensor scales(DType::f32, {layer.map.outputs});
    std::vector<double> largest(static_cast<size_t>(layer.map.outputs), 0);
    for (int64_t i = 0; i < scaled.count(); ++i) {
      const double step = layer.steps.size() > 1 ? layer.steps[static_cast<size_t>(layer.map.input(i))] : 1;
      const auto value = static_cast<float>(layer.weights.at(i) * step);
      scaled.mutable_data<float>()[i] = value;
      double& most = largest[static_cast<size_t>(layer.map.output(i))];
      most = std::max(most, std::fabs(static_cast<double>(value)));
    }
    for (double& most : largest) most = most > 0 ? most / kLargest : 1;
    for (int64_t i = 0; i < scaled.count(); ++i)
      values.mutable_data<int8_t>()[i] =
          static_cast<int8_t>(std::nearbyint(scaled.at(i) / largest[static_cast<size_t>(layer.map.output(i))]));
    for (int64_t o = 0; o < layer.map.outputs; ++o)
      scales.mutable_data<float>()[o] = static_cast<float>(largest[static_cast<size_t>(o)]);
    const std::string stored = edit_.add_constant(name + "_quantized", values),
                      scale = edit_.add_constant(name + "_scale", scales),
                      zero = edit_.add_constant(name + "_zero", Tensor(DType::i8, {layer.map.outputs}));
    std::string result = edit_.add_node("DequantizeLinear", {stored, scale, zero}, name + "_dequantized");
    auto& axis = *edit_.last().add_attribute();
    axis.set_name("axis");
    axis.set_type(onnx::AttributeProto::INT);
    axis.set_i(layer.map.axis);
    return result;
  }

  void write_layer(onnx::NodeProto node, const QdqNode& layer) {
    const int64_t inner = node.op_type() == "Conv" ? layer.weights.rank() - 2 : 0;
    node.set_input(0, quantised(node.input(0), {layer.steps.begin(), layer.steps.end()}, inner));
    node.set_input(1, quantised_weights(node.input(1), layer));
    if (layer.offsets.empty()) return edit_.append(std::move(node));
    Tensor offsets(DType::f32, {layer.map.outputs});
    for (int64_t o = 0; o < layer.map.outputs; ++o)
      offsets.mutable_data<float>()[o] = static_cast<float>(layer.offsets[static_cast<size_t>(o)]);
    if (node.op_type() != "Conv") {
      const std::string result = node.output(0);
      node.set_output(0, edit_.fresh(result + "_uncorrected"));
      const std::vector<std::string> sum{node.output(0), edit_.add_constant(result + "_correction", offsets)};
      edit_.append(std::move(node));
      edit_.add_node("Add", sum, result + "_corrected");
      edit_.last().set_output(0, result);
      return;
    }
    const bool biased = node.input_size() > 2 && !node.input(2).empty();
    for (int64_t o = 0; biased && o < offsets.count(); ++o)
      offsets.mutable_data<float>()[o] += static_cast<float>(edit_.constant(node.input(2)).at(o));
    const std::string bias =
        edit_.add_constant((biased ? node.input(2) : node.input(1) + "_bias") + "_corrected", offsets);
    if (node.input_size() > 2) node.set_input(2, bias);
    else node.add_input(bias);
    edit_.append(std::move(node));
  }

  ModelEdit& edit_;
  const CompileOptions& options_;
  std::map<std::string, int> places_;                    // of nodes, by what the graph calls them
  std::map<int, QdqNode> layers_;                        // by place
  std::map<std::pair<int, std::string>, double> reads_;  // by place and tensor: the step
  std::map<std::pair<std::string, std::vector<float>>, std::string> quantised_;
};

Status check_model(const std::string& path, const onnx::ModelProto& model) {
  for (const auto& opset : model.opset_import())
    if ((opset.domain().empty() || opset.domain() == "ai.onnx") && opset.version() < kOpset)
      return unsupported("{}: is of opset {}, scales by channel need {}: convert it, e.g. by onnx.version_converter",
                         path, opset.version(), kOpset);
  for (const auto& node : model.graph().node())
    if (std::ranges::find(kQuantisedOps, node.op_type()) != std::end(kQuantisedOps) ||
        node.op_type().starts_with("QLinear"))
      return unsupported("{}: node '{}' ({}): the model comes quantised already", path, node.name(), node.op_type());
  return {};
}

// What was added to a layer's bias; empty where that is nothing.
std::vector<double> bias_offsets(const Graph& floats, const Int8Layer& layer, const Graph& integers) {
  const auto& before = floats.node(layer.node).inputs;
  const auto& after = integers.node(integers.value(layer.result).producer).inputs;
  if (after.size() < 3 || !integers.value(after[2]).is_constant()) return {};
  const Tensor& now = integers.value(after[2]).constant;
  std::vector<double> offsets;
  bool any = false;
  for (int64_t c = 0; c < now.count(); ++c) {
    const Tensor own = before.size() > 2 ? floats.value(before[2]).constant : Tensor();
    offsets.push_back(now.at(c) - (own.defined() ? own.at(own.count() == 1 ? 0 : c) : 0));
    any |= offsets.back() != 0;
  }
  return any ? offsets : std::vector<double>();
}

}  // namespace

Status check_quantizable(const std::string& path) {
  HONE_TRY(ModelEdit edit, ModelEdit::open(path));
  return check_model(path, edit.model());
}

Result<QdqModel> quantized_onnx(const std::string& path, const Graph& graph, const CompileOptions& options) {
  HONE_TRY(ModelEdit edit, ModelEdit::open(path));
  HONE_CHECK(check_model(path, edit.model()));
  Graph floats = graph;
  HONE_CHECK(canonicalize(floats));
  HONE_CHECK(assign_layout(floats));
  const Machine machine{.threads = options.threads > 0 ? options.threads : cpu::usable_cpu_count(),
                        .max_tier = options.max_tier};
  // First what can be written: the biases are corrected for exactly that.
  std::map<std::string, std::string> left;
  std::set<std::string> in_floats = options.floats;
  {
    Graph trial = floats;
    QdqWriter writer(edit, options);
    for (const Int8Layer& layer : quantize(trial, options.thresholds, machine, in_floats).layers)
      if (layer.reason.empty())
        if (const std::string reason = writer.plan(floats, layer, {}); !reason.empty()) left[layer.name] = reason;
    for (const auto& [name, reason] : left) in_floats.insert(name);
  }
  QdqModel result;
  Graph integers;
  HONE_TRY(Int8Network made, quantize_smoothly(floats, options, machine, in_floats, integers));
  HONE_TRY(result.note, correct_biases(floats, made.layers, options, DType::i8, integers));
  QdqWriter writer(edit, options);
  bool any = false;
  for (Int8Layer& layer : made.layers) {
    if (layer.reason.empty()) layer.reason = writer.plan(floats, layer, bias_offsets(floats, layer, integers));
    else if (const auto why = left.find(layer.name); why != left.end()) layer.reason = why->second;
    any |= layer.reason.empty();
  }
  if (!any)
    return unsupported("{}: there is no layer that can be quantised: {}", path,
                       made.layers.empty() ? "it has no convolution or matrix product" : made.layers[0].reason);
  for (const Int8Tensor& tensor : made.tensors) writer.plan_reads(floats, tensor);
  result.layers = std::move(made.layers);
  HONE_TRY(result.bytes, writer.write());
  return result;
}

}  // namespace hone
