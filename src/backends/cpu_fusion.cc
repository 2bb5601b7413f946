#include "backends/cpu_fusion.h"

#include "backends/integers.h"
#include "backends/join.h"
#include "backends/nonnegative.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

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
    if (product == NodeId::none || !requantization_of(graph, id, v)) continue;
    std::vector<ValueId> inputs;
    Op fused = fused_op(graph, product, id, inputs);
    return replace(graph, output(graph, id), emit(graph, std::move(fused), std::move(inputs), {product, id}));
  }
  return false;
}

bool fuse_in_bf16(Graph& graph, NodeId id, const Machine& machine) {
  if (op_of<Pointwise>(graph, id) == nullptr) return false;
  const TensorType type = graph.type(output(graph, id));
  if (type.dtype != DType::bf16) return false;
  for (ValueId v : std::vector(graph.node(id).inputs)) {
    const NodeId before = sole_producer(graph, v);
    if (before == NodeId::none) continue;
    const bool product = takes_epilogue(graph, before) && graph.type(v) == type;
    if ((product || op_of<Transpose>(graph, before) != nullptr) && join(graph, before, id, machine)) return true;
  }
  return false;
}

// What quantises the planes of an image, and what makes pixels of them.
bool fuse_planes(Graph& graph, NodeId id, const Machine& machine) {
  const ValueId v = input(graph, id, 0);
  if (op_of<Transpose>(graph, id) == nullptr || producer<Pointwise>(graph, v) == nullptr) return false;
  if (graph.type(v).dtype != DType::i8 || !used_once(graph, v)) return false;
  return join(graph, graph.value(v).producer, id, machine);
}

// A depthwise convolution and the one that makes its input for it alone.
bool fuse_depthwise(Graph& graph, NodeId id, const Machine& machine) {
  const auto convolves = [&](NodeId node) {
    return op_of<Conv>(graph, node) != nullptr || op_of<Fused>(graph, node) != nullptr;
  };
  if (!convolves(id) || graph.node(id).outputs.size() != 1) return false;
  const NodeId before = sole_producer(graph, input(graph, id, 0));
  return before != NodeId::none && convolves(before) && join(graph, before, id, machine);
}

}  // namespace

void fuse_for_cpu(Graph& graph, const Machine& machine) {
  mark_nonnegative(graph);
  for (NodeId id : graph.order())
    if (graph.alive(id) && !fuse_requantization(graph, id) && !fuse_planes(graph, id, machine) &&
        !join_pooling(graph, id, machine) && !fuse_depthwise(graph, id, machine))
      fuse_in_bf16(graph, id, machine);
}

}  // namespace hone
