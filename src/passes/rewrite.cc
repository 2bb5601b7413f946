#include "passes/rewrite.h"

#include <algorithm>
#include <numeric>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/shape.h"

namespace hone::rewrite {

int apply(Graph& graph, int limit, std::initializer_list<Rule> rules) {
  int changes = 0;
  for (NodeId id : graph.order()) {
    for (const Rule rule : rules) {
      if (changes >= limit) return changes;
      if (!graph.alive(id)) break;
      if (rule(graph, id)) ++changes;
    }
  }
  return changes;
}

ValueId emit(Graph& graph, Op op, std::vector<ValueId> inputs, const std::vector<std::string>& sources) {
  const auto node = graph.add_node(std::move(op), std::move(inputs), 1, sources);
  return node.ok() ? graph.node(*node).outputs[0] : ValueId::none;
}

ValueId emit(Graph& graph, Op op, std::vector<ValueId> inputs, std::initializer_list<NodeId> from) {
  const ValueId v = emit(graph, std::move(op), std::move(inputs), std::vector<std::string>{});
  if (v == ValueId::none) return v;
  for (NodeId id : from) graph.add_sources(graph.value(v).producer, graph.node(id).sources);
  return v;
}

namespace {

void prune(Graph& graph, NodeId id) {
  std::vector<NodeId> pending{id};
  while (!pending.empty()) {
    const NodeId next = pending.back();
    pending.pop_back();
    if (next == NodeId::none || !graph.alive(next)) continue;
    const Node& n = graph.node(next);
    const bool used = std::any_of(n.outputs.begin(), n.outputs.end(),
                                  [&](ValueId v) { return !graph.value(v).users.empty() || graph.is_output(v); });
    if (used) continue;
    for (ValueId v : n.inputs) pending.push_back(graph.value(v).producer);
    graph.remove(next);
  }
}

}  // namespace

bool replace(Graph& graph, ValueId old, ValueId now) {
  if (now == ValueId::none || now == old) return false;
  const Value& before = graph.value(old);
  const Value& after = graph.value(now);
  if (after.name.empty() && after.producer != NodeId::none) graph.set_name(now, before.name);
  if (before.type.shape.known() && !after.type.shape.known() && after.producer != NodeId::none)
    graph.set_type(now, before.type);
  const NodeId producer = before.producer;
  graph.replace_uses(old, now);
  prune(graph, producer);
  return true;
}

bool replace_all(Graph& graph, NodeId old, const std::vector<ValueId>& now) {
  const std::vector<ValueId> before = graph.node(old).outputs;
  if (now.size() < before.size()) return false;
  for (size_t i = 0; i < before.size(); ++i) replace(graph, before[i], now[i]);
  return true;
}

void refine_types(Graph& graph) {
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const auto known = [&](ValueId v) { return graph.type(v).shape.known(); };
    if (std::all_of(node.outputs.begin(), node.outputs.end(), known)) continue;
    Types types;
    Tensors constants;
    for (ValueId v : node.inputs) {
      types.push_back(graph.type(v));
      constants.push_back(graph.value(v).constant);
    }
    const auto inferred = node.op.infer({types, constants, node.outputs.size()});
    if (!inferred.ok()) continue;
    const std::vector<ValueId> outputs = node.outputs;
    for (size_t i = 0; i < outputs.size() && i < inferred->size(); ++i)
      if (!known(outputs[i]) && (*inferred)[i].shape.known()) graph.set_type(outputs[i], (*inferred)[i]);
  }
}

ValueId input(const Graph& graph, NodeId id, size_t slot) {
  const auto& inputs = graph.node(id).inputs;
  return slot < inputs.size() ? inputs[slot] : ValueId::none;
}

bool used_once(const Graph& graph, ValueId v) { return graph.value(v).users.size() == 1 && !graph.is_output(v); }

NodeId only_user(const Graph& graph, ValueId v) {
  const auto& users = graph.value(v).users;
  if (users.empty() || graph.is_output(v)) return NodeId::none;
  const bool same = std::all_of(users.begin(), users.end(), [&](NodeId u) { return u == users[0]; });
  return same ? users[0] : NodeId::none;
}

std::optional<std::vector<int64_t>> const_ints(const Graph& graph, ValueId v) {
  const Tensor& t = graph.value(v).constant;
  if (!t.defined() || !is_integer(t.type())) return std::nullopt;
  return t.to_ints();
}

bool is_sum_of_bytes(const Graph& graph, ValueId v) {
  const NodeId producer = graph.value(v).producer;
  return (op_of<Conv>(graph, producer) != nullptr || op_of<MatMul>(graph, producer) != nullptr) &&
         size_of(graph.type(input(graph, producer, 0)).dtype) == 1;
}

std::optional<double> const_scalar(const Graph& graph, ValueId v) {
  const Tensor& t = graph.value(v).constant;
  if (!t.defined() || t.count() != 1 || t.type() == DType::string || is_complex(t.type())) return std::nullopt;
  return t.at(0);
}

ValueId add_ints(Graph& graph, std::span<const int64_t> values) { return graph.add_constant(Tensor::vector(values)); }

bool same_shape(const Shape& a, const Shape& b) {
  if (!a.ranked || !b.ranked || a.dims.size() != b.dims.size()) return false;
  for (size_t i = 0; i < a.dims.size(); ++i)
    if (!(a.dims[i] == b.dims[i]) || (!a.dims[i].known() && a.dims[i].symbol.empty())) return false;
  return true;
}

std::optional<int64_t> normal_axis(int64_t axis, int64_t rank) {
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return std::nullopt;
  return axis;
}

std::optional<Target> reshape_target(const Shape& from, const Shape& to) {
  if (!to.ranked) return std::nullopt;
  Target target;
  int open = 0, copied = 0;
  for (size_t i = 0; i < to.dims.size(); ++i) {
    const Dim& d = to.dims[i];
    target.allow_zero |= d.value == 0;
    const bool copies = !d.known() && !d.symbol.empty() && i < from.dims.size() && from.dims[i] == d;
    target.dims.push_back(d.known() ? d.value : copies ? 0 : -1);
    copied += copies;
    open += !d.known() && !copies;
  }
  if (open > 1 || (target.allow_zero && open + copied > 0)) return std::nullopt;
  return target;
}

ValueId reshape(Graph& graph, ValueId x, Shape shape, const std::vector<std::string>& sources) {
  const auto target = reshape_target(graph.type(x).shape, shape);
  if (!target) return ValueId::none;
  const ValueId v = emit(graph, Reshape{.allow_zero = target->allow_zero}, {x, add_ints(graph, target->dims)}, sources);
  if (v != ValueId::none && !graph.type(v).shape.known()) graph.set_type(v, {graph.type(x).dtype, std::move(shape)});
  return v;
}

Perm compose(const Perm& first, const Perm& second) {
  Perm out;
  for (int64_t i : second) out.push_back(first[static_cast<size_t>(i)]);
  return out;
}

Perm inverse(const Perm& perm) {
  Perm out(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) out[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return out;
}

bool is_identity(const Perm& perm) {
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

bool is_perm(const Perm& perm, int64_t rank) {
  Perm sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  return static_cast<int64_t>(perm.size()) == rank && is_identity(sorted);
}

bool moves_only_ones(const Perm& perm, const Shape& shape) {
  if (!is_perm(perm, shape.rank())) return false;
  int64_t last = -1;
  for (int64_t i : perm) {
    if (shape.dims[static_cast<size_t>(i)].value == 1) continue;
    if (i < last) return false;
    last = i;
  }
  return true;
}

std::optional<Call> call(const Graph& graph, ValueId v) {
  const auto* pointwise = producer<Pointwise>(graph, v);
  if (pointwise == nullptr) return std::nullopt;
  const auto& code = pointwise->program.code;
  const auto& inputs = graph.node(graph.value(v).producer).inputs;
  const PointwiseInstr& last = code.back();
  const int operands = arity(last.fn);
  if (operands == 0) return std::nullopt;
  for (size_t i = 0; i + 1 < code.size(); ++i)
    if (arity(code[i].fn) != 0) return std::nullopt;
  Call result{.fn = last.fn};
  for (int i = 0; i < operands; ++i) {
    const PointwiseInstr& leaf = code[static_cast<size_t>(last.operand[i])];
    if (leaf.fn == Fn::input) result.args[i].value = inputs[static_cast<size_t>(leaf.input)];
    else result.args[i].constant = leaf.value;
  }
  return result;
}

}  // namespace hone::rewrite
