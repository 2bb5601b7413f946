#include "ir/graph.h"

#include <algorithm>

#include "base/counted.h"

namespace hone {

ValueId Graph::new_value(Value value) {
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_input(std::string name, TensorType type) {
  const ValueId id = new_value({.name = std::move(name), .type = std::move(type)});
  inputs_.push_back(id);
  return id;
}

ValueId Graph::add_constant(Tensor value, std::string name) {
  TensorType type{value.type(), Shape::of(value.dims())};
  return new_value({.name = std::move(name), .type = std::move(type), .constant = std::move(value)});
}

Result<NodeId> Graph::add_node(Op op, std::vector<ValueId> inputs, size_t outputs, std::vector<std::string> sources) {
  Types types;
  Tensors constants;
  for (ValueId id : inputs) {
    types.push_back(value(id).type);
    constants.push_back(value(id).constant);
  }
  HONE_TRY(Types inferred, op.infer({types, constants, outputs}));
  if (inferred.size() < outputs)
    return invalid("{} has {}, not {}", op.name(), counted(inferred.size(), "output"), outputs);
  inferred.resize(outputs);
  for (const TensorType& type : inferred) HONE_CHECK(check_size(type));
  return add_node_typed(std::move(op), std::move(inputs), std::move(inferred), std::move(sources));
}

NodeId Graph::add_node_typed(Op op, std::vector<ValueId> inputs, Types types, std::vector<std::string> sources) {
  const auto id = static_cast<NodeId>(nodes_.size());
  for (ValueId v : inputs)
    if (v != ValueId::none) values_[index(v)].users.push_back(id);
  Node node{std::move(op), std::move(inputs), {}, std::move(sources)};
  for (TensorType& type : types) node.outputs.push_back(new_value({.type = std::move(type), .producer = id}));
  nodes_.push_back(std::move(node));
  alive_.push_back(true);
  return id;
}

void Graph::add_output(ValueId value, std::string name) {
  outputs_.push_back(value);
  output_names_.push_back(std::move(name));
}

bool Graph::is_output(ValueId id) const { return std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end(); }

std::vector<NodeId> Graph::order() const {
  // Depth first in id order, so that a graph built in order keeps it.
  std::vector<NodeId> order;
  std::vector<uint8_t> state(nodes_.size(), 0);  // 1: on the stack, 2: done
  std::vector<std::pair<NodeId, size_t>> stack;
  for (uint32_t root = 1; root < nodes_.size(); ++root) {
    if (!alive_[root] || state[root] != 0) continue;
    stack.emplace_back(static_cast<NodeId>(root), 0);
    state[root] = 1;
    while (!stack.empty()) {
      auto& [id, next] = stack.back();
      const Node& n = node(id);
      if (next == n.inputs.size()) {
        state[index(id)] = 2;
        order.push_back(id);
        stack.pop_back();
        continue;
      }
      const NodeId producer = value(n.inputs[next++]).producer;
      if (producer == NodeId::none || state[index(producer)] != 0) continue;
      state[index(producer)] = 1;
      stack.emplace_back(producer, 0);
    }
  }
  return order;
}

std::vector<ValueId> Graph::values() const {
  std::vector<ValueId> out;
  for (uint32_t i = 1; i < values_.size(); ++i) {
    const Value& v = values_[i];
    const auto id = static_cast<ValueId>(i);
    const bool produced = v.producer != NodeId::none && alive_[index(v.producer)];
    if (produced || !v.users.empty() || is_output(id) || std::find(inputs_.begin(), inputs_.end(), id) != inputs_.end())
      out.push_back(id);
  }
  return out;
}

size_t Graph::node_count() const { return static_cast<size_t>(std::count(alive_.begin(), alive_.end(), true)); }

void Graph::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  const std::vector<NodeId> users = values_[index(from)].users;
  for (NodeId user : users)
    for (ValueId& slot : nodes_[index(user)].inputs)
      if (slot == from) slot = to;
  auto& target = values_[index(to)].users;
  target.insert(target.end(), users.begin(), users.end());
  values_[index(from)].users.clear();
  std::replace(outputs_.begin(), outputs_.end(), from, to);
}

void Graph::set_input(NodeId id, size_t slot, ValueId value) {
  ValueId& current = nodes_[index(id)].inputs[slot];
  if (current == value) return;
  if (current != ValueId::none) {
    auto& users = values_[index(current)].users;
    users.erase(std::find(users.begin(), users.end(), id));
  }
  current = value;
  if (value != ValueId::none) values_[index(value)].users.push_back(id);
}

void Graph::add_sources(NodeId id, const std::vector<std::string>& sources) {
  auto& all = nodes_[index(id)].sources;
  for (const auto& s : sources)
    if (std::find(all.begin(), all.end(), s) == all.end()) all.push_back(s);
}

void Graph::remove(NodeId id) {
  Node& n = nodes_[index(id)];
  for (size_t i = 0; i < n.inputs.size(); ++i) set_input(id, i, ValueId::none);
  for (ValueId out : n.outputs) values_[index(out)].producer = NodeId::none;
  alive_[index(id)] = false;
  n = Node{};
}

size_t Graph::remove_dead() {
  std::vector<bool> is_out(values_.size(), false);
  for (ValueId v : outputs_) is_out[index(v)] = true;
  const auto dead = [&](const Node& n) {
    return std::all_of(n.outputs.begin(), n.outputs.end(),
                       [&](ValueId v) { return value(v).users.empty() && !is_out[index(v)]; });
  };
  const std::vector<NodeId> sorted = order();
  size_t removed = 0;
  for (auto id = sorted.rbegin(); id != sorted.rend(); ++id) {
    if (!dead(node(*id))) continue;
    remove(*id);
    ++removed;
  }
  return removed;
}

Status Graph::infer_types() {
  for (NodeId id : order()) {
    Types types;
    Tensors constants;
    for (ValueId v : node(id).inputs) {
      types.push_back(value(v).type);
      constants.push_back(value(v).constant);
    }
    const auto& outputs = node(id).outputs;
    auto inferred = node(id).op.infer({types, constants, outputs.size()});
    if (!inferred.ok()) return inferred.status().within(label(id));
    for (size_t i = 0; i < outputs.size() && i < inferred->size(); ++i) set_type(outputs[i], (*inferred)[i]);
  }
  return {};
}

std::string Graph::label(NodeId id) const {
  const Node& n = node(id);
  return fmt::format("node '{}' ({})", n.sources.empty() ? "" : n.sources.front(), n.op.name());
}

namespace {

Status verify_uses(const Graph& graph, NodeId id) {
  for (ValueId v : graph.node(id).inputs) {
    if (v == ValueId::none) continue;
    const auto& users = graph.value(v).users;
    if (std::find(users.begin(), users.end(), id) == users.end())
      return internal("{}: value %{} does not list it as user", graph.label(id), index(v));
    const NodeId producer = graph.value(v).producer;
    if (producer != NodeId::none && !graph.alive(producer))
      return internal("{}: input %{} has no live producer", graph.label(id), index(v));
  }
  for (ValueId v : graph.node(id).outputs)
    if (graph.value(v).producer != id)
      return internal("{}: output %{} has another producer", graph.label(id), index(v));
  return {};
}

}  // namespace

Status verify(const Graph& graph) {
  std::vector<bool> seen;
  const auto mark = [&](NodeId id) {
    if (seen.size() <= index(id)) seen.resize(index(id) + 1, false);
    seen[index(id)] = true;
  };
  for (NodeId id : graph.order()) {
    HONE_CHECK(verify_uses(graph, id));
    for (ValueId v : graph.node(id).inputs) {
      const NodeId producer = graph.value(v).producer;
      if (v != ValueId::none && producer != NodeId::none && (seen.size() <= index(producer) || !seen[index(producer)]))
        return internal("{}: part of a cycle", graph.label(id));
    }
    mark(id);
  }
  for (ValueId v : graph.outputs())
    if (v == ValueId::none) return internal("a graph output is absent");
  Graph copy = graph;
  HONE_CHECK(copy.infer_types());
  for (ValueId v : graph.values())
    if (!compatible(graph.type(v), copy.type(v)))
      return internal("value %{} is {} but inference says {}", index(v), to_text(graph.type(v)), to_text(copy.type(v)));
  return {};
}

Result<Tensors> interpret(const Graph& graph, std::span<const Tensor> inputs, const Observer& observe) {
  std::map<ValueId, Tensor> live;
  std::map<ValueId, size_t> uses;
  for (size_t i = 0; i < graph.inputs().size() && i < inputs.size(); ++i) live[graph.inputs()[i]] = inputs[i];
  const auto get = [&](ValueId v) -> Tensor {
    if (v == ValueId::none) return {};
    if (graph.value(v).is_constant()) return graph.value(v).constant;
    return live[v];
  };
  for (NodeId id : graph.order()) {
    const Node& n = graph.node(id);
    Tensors args;
    for (ValueId v : n.inputs) args.push_back(get(v));
    auto results = n.op.evaluate({args, n.outputs.size()});
    if (!results.ok()) return results.status().within(graph.label(id));
    if (observe) observe(id, *results);
    for (size_t i = 0; i < n.outputs.size() && i < results->size(); ++i) live[n.outputs[i]] = (*results)[i];
    args.clear();
    for (ValueId v : n.inputs)
      if (v != ValueId::none && ++uses[v] == graph.value(v).users.size() && !graph.is_output(v)) live.erase(v);
  }
  Tensors outputs;
  for (ValueId v : graph.outputs()) outputs.push_back(get(v));
  return outputs;
}

}  // namespace hone
