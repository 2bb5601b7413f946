#include "ir/splice.h"

#include "base/counted.h"

namespace hone {

Result<std::vector<ValueId>> splice(const Graph& from, std::span<const ValueId> inputs, const SpliceTarget& target) {
  if (inputs.size() != from.inputs().size())
    return internal("{} for the {} of a graph", counted(inputs.size(), "value"),
                    counted(from.inputs().size(), "input"));
  std::map<ValueId, ValueId> copies{{ValueId::none, ValueId::none}};
  for (size_t i = 0; i < inputs.size(); ++i) copies[from.inputs()[i]] = inputs[i];
  const auto copy_of = [&](ValueId v) {
    const auto known = copies.find(v);
    if (known != copies.end()) return known->second;
    return copies[v] = target.constant(from.value(v));
  };
  for (NodeId id : from.order()) {
    const Node& node = from.node(id);
    std::vector<ValueId> operands;
    for (ValueId v : node.inputs) operands.push_back(copy_of(v));
    auto outputs = target.node(node, std::move(operands));
    if (!outputs.ok()) return outputs.status().within(from.label(id));
    for (size_t i = 0; i < node.outputs.size(); ++i) copies[node.outputs[i]] = (*outputs)[i];
  }
  std::vector<ValueId> results;
  for (ValueId v : from.outputs()) results.push_back(copy_of(v));
  return results;
}

Result<std::vector<ValueId>> splice(const Graph& from, std::span<const ValueId> inputs, Graph& into) {
  const auto constant = [&](const Value& value) { return into.add_constant(value.constant, value.name); };
  const auto node = [&](const Node& node, std::vector<ValueId> operands) -> Result<std::vector<ValueId>> {
    HONE_TRY(const NodeId id, into.add_node(node.op, std::move(operands), node.outputs.size(), node.sources));
    return into.node(id).outputs;
  };
  return splice(from, inputs, {constant, node});
}

}  // namespace hone
