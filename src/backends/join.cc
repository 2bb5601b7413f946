#include "backends/join.h"

#include "backends/problem.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "passes/fuse/body.h"
#include "passes/rewrite.h"

namespace hone {

NodeId sole_producer(const Graph& graph, ValueId v) {
  return v != ValueId::none && rewrite::used_once(graph, v) ? graph.value(v).producer : NodeId::none;
}

namespace {

bool only_prepares(const Graph& graph, NodeId id) {
  return rewrite::op_of<Pointwise>(graph, id) != nullptr || rewrite::op_of<Transpose>(graph, id) != nullptr;
}

}  // namespace

bool join(Graph& graph, NodeId first, NodeId second, const Machine& machine) {
  std::vector<ValueId> inputs;
  const Op fused = fused_op(graph, first, second, inputs);
  Problem problem{.op = fused, .outputs = {graph.type(rewrite::output(graph, second))}};
  for (ValueId v : inputs) {
    problem.inputs.push_back(graph.type(v));
    problem.constants.push_back(graph.value(v).constant);
  }
  if (!has_kernel(problem, machine)) return false;
  // It is named by its first source: the layer, not the cast or the transposition before it.
  const bool second_names = only_prepares(graph, first) && !only_prepares(graph, second);
  const ValueId joined = second_names ? rewrite::emit(graph, fused, std::move(inputs), {second, first})
                                      : rewrite::emit(graph, fused, std::move(inputs), {first, second});
  return rewrite::replace(graph, rewrite::output(graph, second), joined);
}

bool join_pooling(Graph& graph, NodeId id, const Machine& machine) {
  if (rewrite::op_of<Pool>(graph, id) == nullptr || graph.node(id).outputs.size() != 1) return false;
  const NodeId before = sole_producer(graph, rewrite::input(graph, id, 0));
  return before != NodeId::none && join(graph, before, id, machine);
}

}  // namespace hone
