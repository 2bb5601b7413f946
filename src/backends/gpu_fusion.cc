#include "backends/gpu_fusion.h"

#include "backends/join.h"
#include "ops/attention.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

bool takes_epilogue_on_gpu(const Graph& graph, NodeId id) {
  const bool stores = op_of<LayerNorm>(graph, id) != nullptr || op_of<Attention>(graph, id) != nullptr;
  return takes_epilogue(graph, id) || (stores && graph.node(id).outputs.size() == 1);
}

bool join_epilogue(Graph& graph, NodeId id, const Machine& machine) {
  if (op_of<Pointwise>(graph, id) == nullptr) return false;
  const TensorType type = graph.type(output(graph, id));
  for (const ValueId v : std::vector(graph.node(id).inputs)) {
    const NodeId anchor = sole_producer(graph, v);
    if (anchor == NodeId::none || !takes_epilogue_on_gpu(graph, anchor) || !type.shape.known()) continue;
    if (same_shape(graph.type(v).shape, type.shape) && join(graph, anchor, id, machine)) return true;
  }
  return false;
}

bool join_prologue(Graph& graph, NodeId id, const Machine& machine) {
  const NodeId before = sole_producer(graph, input(graph, id, 0));
  if (before == NodeId::none || op_of<Pointwise>(graph, id) != nullptr) return false;
  const bool pointwise = op_of<Pointwise>(graph, before) != nullptr && graph.node(before).inputs.size() == 1;
  return (pointwise || op_of<Transpose>(graph, before) != nullptr) && join(graph, before, id, machine);
}

}  // namespace

void fuse_for_gpu(Graph& graph, const Machine& machine) {
  for (const auto rule : {join_epilogue, join_prologue, join_prologue, join_pooling})
    for (NodeId id : graph.order())
      if (graph.alive(id)) rule(graph, id, machine);
}

}  // namespace hone
