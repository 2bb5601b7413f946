#include "compile/piecewise.h"

#include <algorithm>

#include "base/copy.h"

namespace hone {
namespace {

constexpr size_t kMostBytes = size_t{1} << 29;  // of the largest tensor of all samples

size_t largest_bytes(const Graph& graph) {
  size_t largest = 1;
  for (ValueId v : graph.values())
    if (const auto dims = graph.type(v).shape.concrete(); dims && !graph.value(v).is_constant())
      largest = std::max(largest, static_cast<size_t>(element_count(*dims)) * size_of(graph.type(v).dtype));
  return largest;
}

}  // namespace

Result<EngineData> compile_on_cpu(const Graph& graph, const CompileOptions& options) {
  return compile_graph(graph, {.target = "cpu",
                               .threads = options.threads,
                               .max_tier = options.max_tier,
                               .winograd = false,
                               .tune = false,
                               .cancelled = options.cancelled});
}

Result<CompiledPart> compile_part(const Graph& graph, std::span<const NodeId> nodes, std::span<const ValueId> outputs,
                                  const CompileOptions& options) {
  CompiledPart part;
  Graph own;
  std::map<ValueId, ValueId> copies{{ValueId::none, ValueId::none}};
  const auto copy_of = [&](ValueId v) {
    const auto [place, added] = copies.emplace(v, ValueId::none);
    if (!added) return place->second;
    const Value& value = graph.value(v);
    if (value.is_constant()) return place->second = own.add_constant(value.constant, value.name);
    part.inputs.push_back(v);
    return place->second = own.add_input(fmt::format("{}", part.inputs.size() - 1), value.type);
  };
  for (NodeId id : nodes) {
    const Node& node = graph.node(id);
    std::vector<ValueId> operands;
    for (ValueId v : node.inputs) operands.push_back(copy_of(v));
    HONE_TRY(const NodeId copy, own.add_node(node.op, std::move(operands), node.outputs.size(), node.sources));
    for (size_t i = 0; i < node.outputs.size(); ++i) copies[node.outputs[i]] = own.node(copy).outputs[i];
  }
  for (ValueId v : outputs) own.add_output(copy_of(v), fmt::format("{}", index(v)));
  HONE_TRY(EngineData data, compile_on_cpu(own, options));
  HONE_TRY(part.engine, LoadedEngine::make(std::move(data)));
  return part;
}

std::vector<NodeId> nodes_for(const Graph& graph, std::span<const ValueId> values, const std::set<NodeId>& known) {
  std::set<NodeId> needed;
  std::vector<ValueId> open(values.begin(), values.end());
  while (!open.empty()) {
    const ValueId v = open.back();
    open.pop_back();
    const NodeId producer = v == ValueId::none ? NodeId::none : graph.value(v).producer;
    if (producer == NodeId::none || known.contains(producer) || !needed.insert(producer).second) continue;
    const auto& inputs = graph.node(producer).inputs;
    open.insert(open.end(), inputs.begin(), inputs.end());
  }
  std::vector<NodeId> nodes;
  for (NodeId id : graph.order())
    if (needed.contains(id)) nodes.push_back(id);
  return nodes;
}

std::span<const Tensors> as_many_as_fit(const Graph& graph, std::span<const Tensors> samples) {
  return samples.first(std::min(samples.size(), std::max<size_t>(kMostBytes / largest_bytes(graph), 1)));
}

PiecewiseRun::PiecewiseRun(const Graph& graph, std::span<const Tensors> samples, const CompileOptions& options)
    : graph_(graph), options_(options), samples_(samples.size()) {
  for (size_t i = 0; i < graph.inputs().size(); ++i)
    for (const Tensors& sample : samples) values_[graph.inputs()[i]].push_back(sample[i]);
}

Result<std::vector<Tensor>*> PiecewiseRun::values(ValueId wanted) {
  if (const auto known = values_.find(wanted); known != values_.end()) return &known->second;
  const std::vector<ValueId> wanted_alone{wanted};
  const std::vector<NodeId> nodes = nodes_for(graph_, wanted_alone, ran_);
  const std::vector<ValueId> outputs = needed_after(nodes, wanted);
  HONE_TRY(CompiledPart part, compile_part(graph_, nodes, outputs, options_));
  ExecutionContext context(part.engine);
  for (size_t k = 0; k < samples_; ++k) {
    if (options_.cancelled && options_.cancelled()) return Status(Code::cancelled, "cancelled");
    for (size_t i = 0; i < part.inputs.size(); ++i)
      HONE_CHECK(context.bind_input(fmt::format("{}", i), values_.at(part.inputs[i])[k]));
    HONE_CHECK(context.run());
    const Tensors made = context.outputs();
    for (size_t i = 0; i < outputs.size(); ++i) values_[outputs[i]].push_back(copied(made[i]));
  }
  ran_.insert(nodes.begin(), nodes.end());
  drop_unneeded(wanted);
  return &values_.at(wanted);
}

// What nodes make that others read.
std::vector<ValueId> PiecewiseRun::needed_after(const std::vector<NodeId>& nodes, ValueId wanted) const {
  const std::set<NodeId> now(nodes.begin(), nodes.end());
  std::vector<ValueId> needed;
  for (NodeId id : nodes)
    for (ValueId v : graph_.node(id).outputs)
      if (v == wanted || std::ranges::any_of(graph_.value(v).users, [&](NodeId user) { return !now.contains(user); }))
        needed.push_back(v);
  return needed;
}

void PiecewiseRun::drop_unneeded(ValueId wanted) {
  std::erase_if(values_, [&](const auto& kept) {
    const auto& users = graph_.value(kept.first).users;
    return kept.first != wanted && std::ranges::all_of(users, [&](NodeId user) { return ran_.contains(user); });
  });
}

}  // namespace hone
