#include "backends/quantized_model.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backends/byte_products.h"
#include "backends/integers.h"
#include "backends/problem.h"
#include "ops/control.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/quantize.h"
#include "passes/canonical/pack_weights.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

constexpr double kShift = 128;  // from u8 to i8

struct Scale {
  float scale = 1;
  int zero = 0;  // of the values in i8; those of e4m3 have none

  bool operator==(const Scale&) const = default;
};

// A float tensor by its values in i8 or e4m3.
struct Codes {
  ValueId values = ValueId::none;
  DType type = DType::i8;
  Scale scale;
};

struct Weights {
  Tensor values;               // i8 or e4m3
  std::vector<double> scales;  // one, or one for each output channel
};

bool is_byte(DType type) { return type == DType::i8 || type == DType::u8; }
bool is_fp8(DType type) { return type == DType::f8e4m3fn; }

// The scale of a node that has one for all elements, for values of `type`.
std::optional<Scale> one_scale(const Graph& graph, NodeId id, DType type) {
  const ValueId scale = input(graph, id, 1), zero = input(graph, id, 2);
  const auto step = const_scalar(graph, scale);
  const auto offset = zero == ValueId::none ? std::optional(0.0) : const_scalar(graph, zero);
  if (!step || !offset || !(is_byte(type) || is_fp8(type)) || graph.type(scale).dtype != DType::f32)
    return std::nullopt;
  if (is_fp8(type) && *offset != 0) return std::nullopt;
  if (!std::isfinite(*step) || !(*step > 0)) return std::nullopt;
  return Scale{static_cast<float>(*step), static_cast<int>(*offset - (type == DType::u8 ? kShift : 0))};
}

// The weights that `dequantize` makes floats of, without their zero points; nothing where i8 or e4m3 does not hold them
// or their scales are not those of `product`'s output channels.
std::optional<Weights> weights_of(const Graph& graph, NodeId dequantize, const Op& product) {
  const auto* op = op_of<Dequantize>(graph, dequantize);
  if (op == nullptr || op->block != 0 || op->type != DType::f32) return std::nullopt;
  for (ValueId v : graph.node(dequantize).inputs)
    if (v != ValueId::none && !graph.value(v).is_constant()) return std::nullopt;
  const Tensor& from = graph.value(input(graph, dequantize, 0)).constant;
  const bool fp8 = is_fp8(from.type());
  if (!(fp8 || is_byte(from.type())) || from.dims().size() < 2 || from.count() == 0) return std::nullopt;
  Weights weights{fp8 ? from : Tensor(DType::i8, from.dims()),
                  graph.value(input(graph, dequantize, 1)).constant.to_doubles()};
  const OutputChannels channels = output_channels(product, from.dims());
  const bool by_channel = weights.scales.size() > 1;
  const auto axis = normal_axis(op->axis, static_cast<int64_t>(from.dims().size()));
  const int64_t channel_axis = channels.inner == 1 ? static_cast<int64_t>(from.dims().size()) - 1 : 0;
  if (by_channel && axis != channel_axis) return std::nullopt;
  const ValueId zero = input(graph, dequantize, 2);
  const auto zeros =
      zero == ValueId::none ? std::vector<double>(weights.scales.size(), 0.0) : graph.value(zero).constant.to_doubles();
  if (fp8)
    return std::ranges::all_of(zeros, [](double z) { return z == 0; }) ? std::optional(std::move(weights))
                                                                       : std::nullopt;
  auto* to = weights.values.mutable_data<int8_t>();
  for (int64_t i = 0; i < from.count(); ++i) {
    const double value = from.at(i) - zeros[by_channel ? static_cast<size_t>(channels.of(i)) : 0];
    if (value < -128 || value > 127) return std::nullopt;
    to[i] = static_cast<int8_t>(value);
  }
  return weights;
}

struct Rescaling {
  Tensor scales, offsets;  // of each output channel, in f32
};

// sum of (x - zero) * w = sum of x * w - zero * sum of w: the latter goes into the bias, if there is one.
Rescaling rescaling_of(const Weights& weights, const OutputChannels& channels, const Scale& data, const Tensor& bias) {
  std::vector<double> sums(static_cast<size_t>(channels.count), 0);
  for (int64_t i = 0; data.zero != 0 && i < weights.values.count(); ++i)
    sums[static_cast<size_t>(channels.of(i))] += weights.values.at(i);
  Rescaling by{Tensor(DType::f32, {channels.count}), Tensor(DType::f32, {channels.count})};
  for (size_t c = 0; c < sums.size(); ++c) {
    const double scale = data.scale * weights.scales[weights.scales.size() > 1 ? c : 0];
    const double own = bias.defined() ? bias.at(bias.count() > 1 ? static_cast<int64_t>(c) : 0) : 0;
    by.scales.mutable_data<float>()[c] = static_cast<float>(scale);
    by.offsets.mutable_data<float>()[c] = static_cast<float>(own - data.zero * sums[c] * scale);
  }
  return by;
}

// Takes the padding out of a convolution, which pads with 0 where the values that stand for 0 are others. The result is
// the pads of a Pad in front of it; nothing where there are none.
std::optional<std::vector<int64_t>> separate_padding(Problem& problem) {
  const auto* op = problem.op.as<Conv>();
  const auto dims = problem.inputs[0].shape.concrete();
  if (op == nullptr || !dims || std::all_of(op->pads.begin(), op->pads.end(), [](int64_t p) { return p == 0; }))
    return std::nullopt;
  const size_t rank = dims->size(), spatial = op->pads.size() / 2, first = op->channels_last ? 1 : 2;
  std::vector<int64_t> pads(2 * rank, 0);
  Dims padded = *dims;
  for (size_t i = 0; i < spatial; ++i) {
    pads[first + i] = op->pads[i];
    pads[rank + first + i] = op->pads[spatial + i];
    padded[first + i] += op->pads[i] + op->pads[spatial + i];
  }
  Conv conv = *op;
  conv.pads.assign(conv.pads.size(), 0);
  problem.op = conv;
  problem.inputs[0].shape = Shape::of(padded);
  return pads;
}

class Converter {
 public:
  Converter(Graph& graph, const Machine& machine) : graph_(graph), machine_(machine) {}

  bool run() {
    for (NodeId id : graph_.order()) {
      if (op_of<Quantize>(graph_, id) != nullptr) quantize(id);
      else if (op_of<Dequantize>(graph_, id) != nullptr) dequantize(id);
      else if (op_of<Conv>(graph_, id) != nullptr || op_of<MatMul>(graph_, id) != nullptr) multiply(id);
      else if (keeps_values(graph_.node(id).op)) move(id);
      else average(id);
    }
    for (const auto& [value, codes] : codes_) give_each_reader_its_own(value, codes);
    graph_.remove_dead();
    return changed_;
  }

 private:
  // The CPU has no kernels for e4m3.
  bool on_gpu() const { return !machine_.cuda_arch.empty(); }

  void quantize(NodeId id) {
    const Node node = graph_.node(id);
    const auto& op = *node.op.as<Quantize>();
    const auto scale = one_scale(graph_, id, op.type);
    const bool divides_in_f32 = op.precision == DType::none || op.precision == DType::f32;
    if (!scale || !divides_in_f32 || graph_.type(node.inputs[0]).dtype != DType::f32) return;
    if (is_fp8(op.type) && (!on_gpu() || !op.saturate)) return;
    const DType type = is_fp8(op.type) ? op.type : DType::i8;
    const ValueId old = node.outputs[0], values = values_of(node.inputs[0], type, *scale);
    ValueId now = values;
    if (op.type == DType::u8) {
      now = add_value(graph_, Pointwise{shifting(DType::i8, DType::u8)}, {values}, graph_.type(old));
      shifted_[now] = values;
    }
    replace(old, now);
  }

  void dequantize(NodeId id) {
    const Node node = graph_.node(id);
    const ValueId x = node.inputs[0];
    const auto scale = one_scale(graph_, id, graph_.type(x).dtype);
    if (!scale || graph_.value(x).is_constant() || node.op.as<Dequantize>()->type != DType::f32) return;
    const bool fp8 = is_fp8(graph_.type(x).dtype);
    if (fp8 && !on_gpu()) return;
    const Codes codes = fp8 ? Codes{x, DType::f8e4m3fn, *scale} : Codes{in_i8(x), DType::i8, *scale};
    replace(node.outputs[0], floats(codes, graph_.type(node.outputs[0])));
  }

  ValueId floats(const Codes& codes, TensorType type) {
    const ValueId result = add_value(graph_, Pointwise{dequantizing(codes.type, codes.scale.scale, codes.scale.zero)},
                                     {codes.values}, std::move(type));
    codes_[result] = codes;
    return result;
  }

  // Of i8 or u8.
  ValueId in_i8(ValueId v) {
    const TensorType& type = graph_.type(v);
    if (type.dtype == DType::i8) return v;
    ValueId& made = shifted_[v];
    if (made == ValueId::none)
      made = add_value(graph_, Pointwise{shifting(DType::u8, DType::i8)}, {v}, {DType::i8, type.shape});
    return made;
  }

  // A float tensor quantised: of what only moves values, its inputs are.
  ValueId values_of(ValueId v, DType dtype, const Scale& scale) {
    const auto known = codes_.find(v);
    if (known != codes_.end() && known->second.type == dtype && known->second.scale == scale)
      return known->second.values;
    const TensorType type{dtype, graph_.type(v).shape};
    const NodeId producer = graph_.value(v).producer;
    if (producer != NodeId::none && used_once(graph_, v) && can_move(graph_, producer, dtype, machine_)) {
      const Node node = graph_.node(producer);
      std::vector<ValueId> inputs = node.inputs;
      for (size_t i = 0; i < data_inputs(node); ++i) inputs[i] = values_of(inputs[i], dtype, scale);
      return add_value(graph_, node.op, inputs, type, node.sources);
    }
    return add_value(graph_, Pointwise{quantizing(dtype, Fn::div, scale.scale, scale.zero)}, {v}, type);
  }

  // Dequantised values of one scale are moved before they are dequantised.
  void move(NodeId id) {
    const Node node = graph_.node(id);
    std::vector<ValueId> inputs = node.inputs;
    const auto first = codes_.find(inputs[0]);
    if (first == codes_.end()) return;
    const auto [_, dtype, scale] = first->second;
    if (!can_move(graph_, id, dtype, machine_)) return;
    for (size_t i = 0; i < data_inputs(node); ++i) {
      const auto codes = codes_.find(inputs[i]);
      if (codes == codes_.end() || codes->second.type != dtype || codes->second.scale != scale) return;
      inputs[i] = codes->second.values;
    }
    const TensorType type = graph_.type(node.outputs[0]);
    const ValueId values = add_value(graph_, node.op, inputs, {dtype, type.shape}, node.sources);
    replace(node.outputs[0], floats({values, dtype, scale}, type));
  }

  void average(NodeId id) {
    const ValueId x = input(graph_, id, 0), mean = graph_.node(id).outputs[0];
    const auto codes = codes_.find(x);
    if (codes == codes_.end() || codes->second.type != DType::i8 || graph_.type(mean).dtype != DType::f32) return;
    const auto [values, _, scale] = codes->second;
    if (const auto made = add_byte_mean(graph_, id, values, scale.scale, scale.zero, machine_)) replace(mean, *made);
  }

  void multiply(NodeId id) {
    const Node node = graph_.node(id);
    const auto data = codes_.find(node.inputs[0]);
    if (data == codes_.end() || graph_.type(node.outputs[0]).dtype != DType::f32) return;
    const Codes codes = data->second;
    const NodeId dequantize = graph_.value(node.inputs[1]).producer;
    const auto weights = weights_of(graph_, dequantize, node.op);
    const ValueId bias = input(graph_, id, 2);
    const bool centred = codes.scale.zero == 0;
    if (!weights || weights->values.type() != codes.type ||
        (!centred && bias != ValueId::none && !graph_.value(bias).is_constant()))
      return;
    Problem problem = problem_of(graph_, id);
    const auto padded = centred ? std::nullopt : separate_padding(problem);
    const auto product = product_of(problem, codes.type);
    if (!product || !has_fast_kernel(*product, machine_)) return;
    ValueId values = codes.values;
    if (padded) {
      const ValueId zero = graph_.add_constant(Tensor::scalar(static_cast<double>(codes.scale.zero), DType::i8));
      values = add_value(graph_, Pad{}, {values, add_ints(graph_, *padded), zero}, product->inputs[0], node.sources);
    }
    const std::string name = graph_.value(input(graph_, dequantize, 0)).name;
    const ValueId sums = add_value(graph_, product->op, {values, graph_.add_constant(weights->values, name)},
                                   product->outputs[0], node.sources);
    const Rescaling by = rescaling_of(*weights, output_channels(node.op, weights->values.dims()), codes.scale,
                                      bias == ValueId::none ? Tensor() : graph_.value(bias).constant);
    const ValueId offsets = centred ? bias : graph_.add_constant(by.offsets, name + " offset");
    replace(node.outputs[0],
            add_rescaling(graph_, sums, by.scales, offsets, graph_.type(node.outputs[0]), name + " scale"));
  }

  // Elementwise work reads i8, not floats that are kept for several readers.
  void give_each_reader_its_own(ValueId v, const Codes& codes) {
    const std::vector<NodeId> users = graph_.value(v).users;
    for (size_t u = 1; u < users.size(); ++u) {
      if (op_of<Pointwise>(graph_, users[u]) == nullptr) continue;
      const ValueId own = add_value(graph_, Pointwise{dequantizing(codes.type, codes.scale.scale, codes.scale.zero)},
                                    {codes.values}, graph_.type(v));
      for (size_t i = 0; i < graph_.node(users[u]).inputs.size(); ++i)
        if (graph_.node(users[u]).inputs[i] == v) graph_.set_input(users[u], i, own);
    }
  }

  void replace(ValueId old, ValueId now) {
    if (graph_.value(now).name.empty()) graph_.set_name(now, graph_.value(old).name);
    graph_.replace_uses(old, now);
    changed_ = true;
  }

  Graph& graph_;
  const Machine& machine_;
  std::map<ValueId, Codes> codes_;      // of float tensors
  std::map<ValueId, ValueId> shifted_;  // u8 tensors in i8
  bool changed_ = false;
};

// Constants that are left to be dequantised are dequantised now.
void dequantize_constants(Graph& graph) {
  for (NodeId id : graph.order()) {
    const auto* op = op_of<Dequantize>(graph, id);
    if (op == nullptr) continue;
    Tensors values;
    for (ValueId v : graph.node(id).inputs) values.push_back(graph.value(v).constant);
    if (!values[0].defined() || !values[1].defined()) continue;
    if (const auto made = op->evaluate({values, 1}); made.ok()) {
      const ValueId constant = graph.add_constant((*made)[0], graph.value(output(graph, id)).name);
      graph.replace_uses(output(graph, id), constant);
    }
  }
  graph.remove_dead();
}

}  // namespace

bool run_quantized_model_in_integers(Graph& graph, const Machine& machine) {
  bool changed = adapt_byte_products(graph, machine);
  changed |= Converter(graph, machine).run();
  for (NodeId id : graph.order())
    if (graph.alive(id)) changed |= pack_weights_of(graph, id);
  dequantize_constants(graph);
  for (NodeId id : graph.order()) {
    const Op before = graph.node(id).op;  // holds the bodies while others take their places
    for (const ControlBody& body : bodies_of(before)) {
      Graph inner = *body.graph;
      changed |= run_quantized_model_in_integers(inner, machine);
      if (auto op = with_body(graph.node(id).op, body.attr, std::move(inner)); op.ok()) graph.set_op(id, *op);
    }
  }
  return changed;
}

}  // namespace hone
