#include "calibrate/observed_model.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "compile/import_model.h"
#include "import/onnx/model.h"
#include "ir/splice.h"
#include "ops/movement.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace hone::calibrate {
namespace {

// Ops that a quantised network computes in integers, or between such.
constexpr std::string_view kArithmetic[] = {
    "Conv",   "ConvTranspose", "DeformConv", "MatMul", "Einsum",  "Attention", "LinearAttention", "Rnn", "Pool",
    "Concat", "Pointwise",     "Resize",     "Reduce", "Softmax", "LayerNorm", "GroupNorm",       "Lrn", "Pad"};
constexpr std::string_view kSpatial[] = {"Conv", "ConvTranspose", "DeformConv", "Pool"};

struct Selected {
  ObservedTensor tensor;
  ValueId value;
};

// Whether a node that makes or reads the value is among `ops`.
bool touches(const Graph& graph, ValueId v, std::span<const std::string_view> ops) {
  const Value& value = graph.value(v);
  const auto among = [&](NodeId id) { return std::ranges::find(ops, graph.node(id).op.name()) != ops.end(); };
  return (value.producer != NodeId::none && among(value.producer)) || std::ranges::any_of(value.users, among);
}

// Images have their channels second, rows of features last.
int64_t channel_axis(const Graph& graph, ValueId v) {
  static constexpr std::string_view kProducts[] = {"MatMul"};
  const int64_t rank = graph.type(v).shape.rank();
  if (rank < 2) return -1;
  if (touches(graph, v, kSpatial)) return 1;
  return rank > 3 && !touches(graph, v, kProducts) ? 1 : rank - 1;
}

std::vector<Selected> select(const Graph& graph) {
  std::vector<Selected> selected;
  std::set<std::string> names;
  const auto take = [&](ValueId v, const std::string& name) {
    const Value& value = graph.value(v);
    if (name.empty() || value.is_constant() || !is_float(value.type.dtype)) return;
    if (value.producer != NodeId::none && !touches(graph, v, kArithmetic)) return;  // inputs are always asked for
    if (!names.insert(name).second) return;
    selected.push_back(
        {{name, value.producer == NodeId::none ? "input" : graph.label(value.producer), channel_axis(graph, v)}, v});
  };
  for (ValueId v : graph.inputs()) take(v, graph.value(v).name);
  for (NodeId id : graph.order())
    for (ValueId v : graph.node(id).outputs) take(v, graph.value(v).name);
  for (size_t k = 0; k < graph.outputs().size(); ++k) take(graph.outputs()[k], graph.output_names()[k]);
  return selected;
}

// A graph of the same inputs and nodes without outputs, and what the outputs became.
Result<std::pair<Graph, std::vector<ValueId>>> without_outputs(const Graph& graph) {
  Graph copy;
  copy.name = graph.name;
  std::vector<ValueId> inputs;
  for (ValueId v : graph.inputs()) inputs.push_back(copy.add_input(graph.value(v).name, graph.type(v)));
  HONE_TRY(auto outputs, splice(graph, inputs, copy));
  return std::pair(std::move(copy), std::move(outputs));
}

// The graph with the selected values for its only outputs.
Result<Graph> with_outputs(Graph graph, std::span<const Selected> selected) {
  const size_t own = graph.outputs().size();
  for (const Selected& s : selected) graph.add_output(s.value, s.tensor.name);
  HONE_TRY(auto bare, without_outputs(graph));
  auto& [observed, values] = bare;
  for (size_t k = 0; k < selected.size(); ++k) observed.add_output(values[own + k], selected[k].tensor.name);
  observed.remove_dead();
  return std::move(observed);
}

// What is seen need not be in the source's order: a Transpose before an output is left out.
Result<Graph> seen_before_transposes(const Graph& graph, std::vector<ObservedTensor>& tensors) {
  HONE_TRY(auto bare, without_outputs(graph));
  auto& [observed, values] = bare;
  for (size_t k = 0; k < tensors.size(); ++k) {
    int64_t& axis = tensors[k].axis;
    while (const auto* t = rewrite::producer<Transpose>(observed, values[k])) {
      if (axis >= 0) axis = t->perm[static_cast<size_t>(axis)];
      values[k] = rewrite::input(observed, observed.value(values[k]).producer, 0);
    }
    observed.add_output(values[k], tensors[k].name);
  }
  observed.remove_dead();
  return std::move(observed);
}

}  // namespace

Result<std::unique_ptr<ObservedModel>> ObservedModel::make(const std::string& path,
                                                           const std::map<std::string, Dims>& shapes,
                                                           const CompileOptions& options) {
  HONE_TRY(const Graph imported, import_onnx_file(path, {.shapes = shapes}));
  const std::vector<Selected> selected = select(imported);
  std::vector<ObservedTensor> tensors;
  tensors.reserve(selected.size());
  for (const Selected& s : selected) tensors.push_back(s.tensor);
  HONE_TRY(Graph graph, with_outputs(imported, selected));
  HONE_CHECK(canonicalize(graph));
  HONE_CHECK(assign_layout(graph));
  HONE_TRY(graph, seen_before_transposes(graph, tensors));
  CompileOptions untuned = options;  // timing could choose other kernels, of other roundings, on the next run
  untuned.tune = false;
  untuned.keep_outputs = false;
  auto compiled = compile_graph(graph, untuned);
  if (!compiled.ok()) return compiled.status().within(path);
  HONE_TRY(auto engine, LoadedEngine::make(std::move(*compiled)));
  auto model = std::unique_ptr<ObservedModel>(new ObservedModel(std::move(graph), std::move(tensors), engine));
  if (engine->device_weights()) {
    const auto& outputs = engine->program().outputs;
    std::vector<DeviceStatistics::Observed> observed(outputs.size());
    for (size_t k = 0; k < outputs.size(); ++k)
      if (const auto dims = outputs[k].type.shape.concrete())
        observed[k] = {outputs[k].type.dtype, *dims, model->tensors_[k].axis};
    HONE_TRY(model->device_, DeviceStatistics::create(engine->device_weights()->ordinal(), observed));
  }
  return model;
}

Status ObservedModel::run_and_show(const std::vector<Tensor>& inputs, const std::function<Status(size_t)>& show) {
  const Program& program = context_.engine().program();
  for (size_t i = 0; i < program.inputs.size(); ++i) HONE_CHECK(context_.bind_input(program.inputs[i].name, inputs[i]));
  context_.observer = [&](size_t step) -> Status {
    for (const size_t k : appearances_.behind[step]) HONE_CHECK(show(k));
    return {};
  };
  const Status ran = context_.run();
  context_.observer = {};
  HONE_CHECK(ran);
  for (const size_t k : appearances_.given) HONE_CHECK(show(k));  // parts of an input are those of this run only now
  return {};
}

Status ObservedModel::run(const std::vector<Tensor>& inputs, const Sink& sink) {
  context_.leave_outputs({});
  return run_and_show(inputs, [&](size_t k) -> Status {
    HONE_TRY(const Tensor values, context_.fetch_output(k));
    return sink(k, values);
  });
}

Result<std::vector<ObservedModel::Seen>> ObservedModel::observe(const std::vector<Tensor>& inputs,
                                                                cpu::ThreadPool& pool) {
  std::vector<bool> left(tensors_.size());
  for (size_t k = 0; k < left.size(); ++k) left[k] = device_ && device_->takes(k);
  context_.leave_outputs(left);
  std::vector<Seen> seen(tensors_.size());
  HONE_CHECK(run_and_show(inputs, [&](size_t k) -> Status {
    if (const Tensor* there = context_.left_output(k)) {
      seen[k].values = there->count();
      return device_->observe(k, *there, *context_.gpu_stream());
    }
    HONE_TRY(const Tensor values, context_.fetch_output(k));
    seen[k] = {statistics_[k].observe(values, tensors_[k].axis, pool), values.count()};
    return {};
  }));
  if (!device_) return seen;
  HONE_TRY(const auto odd, device_->finish(*context_.gpu_stream()));
  for (size_t k = 0; k < seen.size(); ++k)
    if (odd[k].any()) seen[k].odd = odd[k];
  return seen;
}

Result<std::vector<Statistics>> ObservedModel::take_statistics() {
  auto all = std::exchange(statistics_, std::vector<Statistics>(tensors_.size()));
  if (!device_) return all;
  HONE_TRY(const auto there, device_->take());
  for (size_t k = 0; k < all.size(); ++k) all[k].merge(there[k]);
  return all;
}

Result<std::vector<Input>> inputs_of(const std::string& path, const std::map<std::string, Dims>& shapes) {
  HONE_TRY(const Graph graph, import_onnx_file(path, {.shapes = shapes}));
  std::vector<Input> inputs;
  for (ValueId v : graph.inputs()) inputs.push_back({graph.value(v).name, graph.type(v)});
  return inputs;
}

Result<std::string> broken_constant(const std::string& path, const std::map<std::string, Dims>& shapes,
                                    const std::string& tensor) {
  HONE_TRY(const Graph graph, import_onnx_file(path, {.shapes = shapes}));
  for (const Selected& s : select(graph)) {
    const NodeId producer = graph.value(s.value).producer;
    if (s.tensor.name != tensor || producer == NodeId::none) continue;
    for (ValueId v : graph.node(producer).inputs) {
      if (v == ValueId::none) continue;
      const Tensor& constant = graph.value(v).constant;
      if (!constant.defined() || !is_float(constant.type())) continue;
      for (int64_t i = 0; i < constant.count(); ++i)
        if (!std::isfinite(constant.at(i)))
          return fmt::format("its constant '{}' holds {} (element {})", graph.value(v).name, constant.at(i), i);
    }
  }
  return std::string();
}

Result<std::vector<std::string>> tensors_of(const std::string& path, const std::map<std::string, Dims>& shapes) {
  HONE_TRY(const ImportedModel model, import_model(path, shapes));
  std::vector<std::string> names;
  for (const Selected& s : select(model.graph)) names.push_back(s.tensor.name);
  return names;
}

}  // namespace hone::calibrate
