#include <algorithm>

#include "ir/splice.h"
#include "ops/control.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// If with a constant condition -> the nodes of the branch that it takes.
bool inline_branch(Graph& graph, NodeId id) {
  if (op_of<If>(graph, id) == nullptr) return false;
  const Node node = graph.node(id);
  const Tensor& condition = graph.value(node.inputs[0]).constant;
  if (!condition.defined()) return false;
  const auto taken = truth(condition);
  if (!taken.ok()) return false;
  const ControlBody body = bodies_of(node.op)[*taken ? 0 : 1];
  const auto outputs =
      splice(*body.graph, std::span(node.inputs).subspan(body.first_input, body.graph->inputs().size()), graph);
  return outputs.ok() && replace_all(graph, id, *outputs);
}

// What becomes of an input of a body.
struct Formal {
  TensorType type;
  Tensor constant;  // in place of the input
  bool unused = false;

  bool stays() const { return !constant.defined() && !unused; }
};

Result<Graph> rebuild(const Graph& body, std::span<const Formal> formals) {
  Graph made;
  made.name = body.name;
  made.metadata = body.metadata;
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < formals.size(); ++i) {
    const std::string& name = body.value(body.inputs()[i]).name;
    inputs.push_back(formals[i].unused               ? ValueId::none
                     : formals[i].constant.defined() ? made.add_constant(formals[i].constant, name)
                                                     : made.add_input(name, formals[i].type));
  }
  HONE_TRY(const auto outputs, splice(body, inputs, made));
  for (size_t i = 0; i < outputs.size(); ++i) made.add_output(outputs[i], body.output_names()[i]);
  return made;
}

Formal capture(const Graph& body, ValueId formal, const Value& actual) {
  Formal made{.type = body.type(formal)};
  made.unused = body.value(formal).users.empty() && !body.is_output(formal);
  if (!made.unused) made.constant = actual.constant;
  if (actual.type.shape.known()) made.type = actual.type;
  return made;
}

// Whether every state leaves a run with the type that it entered with.
bool states_keep_types(const Graph& graph, const ControlBody& body) {
  const size_t first = body.first_state == 0 ? 0 : body.first_state - 1;  // a loop's outputs have no iteration number
  for (size_t k = 0; k < body.states; ++k)
    if (!(graph.type(graph.inputs()[body.first_state + k]) == graph.type(graph.outputs()[first + k]))) return false;
  return true;
}

struct Special {
  Graph graph;
  std::vector<Formal> formals;
};

// The body as it is for these inputs of its node; nothing when that is no change.
std::optional<Special> specialise(const Graph& graph, const ControlBody& body, std::span<const ValueId> actual) {
  const auto& inputs = body.graph->inputs();
  std::vector<Formal> formals;
  for (size_t i = 0; i < inputs.size(); ++i)
    formals.push_back(i < body.formals ? Formal{.type = body.graph->type(inputs[i])}
                                       : capture(*body.graph, inputs[i], graph.value(actual[i])));
  std::vector<Formal> settled = formals;
  for (size_t i = body.first_state; i < body.first_state + body.states; ++i)
    if (!settled[i].type.shape.known() && graph.type(actual[i]).shape.known()) settled[i].type = graph.type(actual[i]);
  const auto changes = [&](const std::vector<Formal>& list) {
    for (size_t i = 0; i < list.size(); ++i)
      if (!list[i].stays() || !(list[i].type == body.graph->type(inputs[i]))) return true;
    return false;
  };
  for (auto* list : {&settled, &formals}) {
    if (!changes(*list)) continue;
    auto made = rebuild(*body.graph, *list);
    if (made.ok() && (list == &formals || states_keep_types(*made, body)))
      return Special{std::move(*made), std::move(*list)};
  }
  return std::nullopt;
}

// Constants that a body captures become its own, captures that it does not use go, and types become those of the values
// that it is given.
bool specialise_node(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  const auto bodies = bodies_of(node.op);
  if (bodies.empty()) return false;
  Op op = node.op;
  std::vector<ValueId> inputs(node.inputs.begin(),
                              node.inputs.begin() + static_cast<std::ptrdiff_t>(bodies[0].first_input));
  bool changed = false;
  for (const ControlBody& body : bodies) {
    const auto actual = std::span(node.inputs).subspan(body.first_input, body.graph->inputs().size());
    auto special = specialise(graph, body, actual);
    for (size_t i = 0; i < actual.size(); ++i)
      if (!special || special->formals[i].stays()) inputs.push_back(actual[i]);
    if (!special) continue;
    auto made = with_body(op, body.attr, std::move(special->graph));
    if (!made.ok()) return false;
    op = std::move(*made);
    changed = true;
  }
  if (!changed) return false;
  const auto made = graph.add_node(std::move(op), std::move(inputs), node.outputs.size(), node.sources);
  return made.ok() && replace_all(graph, id, graph.node(*made).outputs);
}

}  // namespace

Result<int> specialise_bodies(Graph& graph, int limit) {
  const int changes = apply(graph, limit, {inline_branch, specialise_node});
  if (changes > 0) refine_types(graph);
  return changes;
}

}  // namespace hone
