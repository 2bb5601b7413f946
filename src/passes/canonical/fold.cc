#include "ops/fold.h"

#include "ops/movement.h"
#include "ops/shape.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// Larger broadcasts only make the engine grow; most users broadcast by themselves.
constexpr int64_t kMaxBroadcast = 4096;

// A node over constants -> constants.
bool fold_node(Graph& graph, NodeId id) {
  const Node n = graph.node(id);
  if (n.op.as<Expand>() != nullptr) {
    const auto dims = graph.type(n.outputs[0]).shape.concrete();
    if (!dims || element_count(*dims) > kMaxBroadcast) return false;
  }
  const auto results = fold(graph, n.op, n.inputs, n.outputs.size());
  if (!results || results->size() < n.outputs.size()) return false;
  for (size_t i = 0; i < n.outputs.size(); ++i)
    if (!(*results)[i].defined()) return false;
  for (size_t i = 0; i < n.outputs.size(); ++i)
    replace(graph, n.outputs[i], graph.add_constant((*results)[i], graph.value(n.outputs[i]).name));
  return true;
}

// Reshape to a computed target whose result is known -> Reshape to a constant target.
bool settle_reshape(Graph& graph, NodeId id) {
  if (op_of<Reshape>(graph, id) == nullptr || graph.value(input(graph, id, 1)).is_constant()) return false;
  const TensorType type = graph.type(output(graph, id));
  if (!type.shape.known()) return false;
  return replace(graph, output(graph, id), reshape(graph, input(graph, id, 0), type.shape, graph.node(id).sources));
}

}  // namespace

Result<int> fold_constants(Graph& graph, int limit) { return apply(graph, limit, {fold_node, settle_reshape}); }

}  // namespace hone
