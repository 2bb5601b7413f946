#include "backends/cpu_fusion.h"

#include <algorithm>

#include "ops/fused.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

bool is_requantization(const Graph& graph, const Node& node, ValueId sums) {
  std::vector<Spread> spreads;
  for (ValueId v : node.inputs) spreads.push_back(spread_of(graph.type(v).shape, graph.type(node.outputs[0]).shape));
  const auto at = std::find(node.inputs.begin(), node.inputs.end(), sums) - node.inputs.begin();
  return as_requantize(node.op.as<Pointwise>()->program, static_cast<int>(at), spreads).has_value();
}

// The product of i8 that makes a value for one reader, whose kernels take what is elementwise; else none.
NodeId product_of(const Graph& graph, ValueId v, const Shape& shape) {
  const NodeId id = graph.value(v).producer;
  const bool sums = graph.type(v).dtype == DType::i32 && graph.type(v).shape == shape && shape.known();
  return id != NodeId::none && sums && takes_epilogue(graph, id) && used_once(graph, v) ? id : NodeId::none;
}

bool fuse_requantization(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr) return false;
  const Node node = graph.node(id);
  for (ValueId v : node.inputs) {
    const NodeId product = product_of(graph, v, graph.type(output(graph, id)).shape);
    if (product == NodeId::none || !is_requantization(graph, node, v)) continue;
    std::vector<ValueId> inputs;
    Op fused = fused_op(graph, product, id, inputs);
    return replace(graph, output(graph, id), emit(graph, std::move(fused), std::move(inputs), {product, id}));
  }
  return false;
}

}  // namespace

void fuse_for_cpu(Graph& graph) {
  for (NodeId id : graph.order())
    if (graph.alive(id)) fuse_requantization(graph, id);
}

}  // namespace hone
