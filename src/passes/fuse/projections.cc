#include "ops/attention.h"
#include "ops/elements.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
#include "ops/movement.h"
#include "ops/shape.h"
#include "passes/layout/layout.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// The inputs of a product that have a part for each output channel, along one axis.
struct Parts {
  std::vector<size_t> slots;
  int64_t axis;
  size_t bias;
};

Parts parts_of(const Op& op) {
  if (op.as<MatMulNBits>() != nullptr) return {{1, 2, 3}, 0, 4};
  return {{1}, -1, 2};
}

// A product by constant weights whose output channels could be joined with another's.
bool is_product(const Graph& graph, NodeId id) {
  if (op_of<MatMulNBits>(graph, id) == nullptr) {
    const auto* matmul = op_of<MatMul>(graph, id);
    if (matmul == nullptr || matmul->trans_a || matmul->trans_b) return false;
    const Tensor& weights = graph.value(input(graph, id, 1)).constant;
    if (!weights.defined() || weights.rank() != 2) return false;
  }
  const Parts parts = parts_of(graph.node(id).op);
  for (size_t slot : parts.slots)
    if (!graph.value(input(graph, id, slot)).is_constant()) return false;
  const ValueId bias = input(graph, id, parts.bias);
  return bias == ValueId::none || graph.value(bias).is_constant();
}

// v [batch, length, heads, size] = Reshape(product of x): that product, else none.
NodeId projection(const Graph& graph, ValueId v) {
  if (producer<Reshape>(graph, v) == nullptr || !used_once(graph, v)) return NodeId::none;
  const ValueId flat = input(graph, graph.value(v).producer, 0);
  const NodeId id = graph.value(flat).producer;
  if (id == NodeId::none || !is_product(graph, id) || !used_once(graph, flat)) return NodeId::none;
  const Shape &shape = graph.type(v).shape, &from = graph.type(flat).shape;
  if (!shape.known() || shape.rank() != 4 || from.rank() != 3) return NodeId::none;
  if (!(from.dims[0] == shape.dims[0]) || !(from.dims[1] == shape.dims[1])) return NodeId::none;
  return id;
}

// One constant of the constants at `slot` of three nodes, side by side along `axis`.
Result<Tensor> side_by_side(const Graph& graph, const NodeId (&nodes)[3], size_t slot, int64_t axis) {
  Tensors parts;
  for (NodeId id : nodes) parts.push_back(graph.value(input(graph, id, slot)).constant);
  HONE_TRY(const Tensors whole, Concat{.axis = axis}.evaluate({parts, 1}));
  return whole[0];
}

// Attention on three projections of one value -> one product with their weights side by side, and packed Attention.
bool merge(Graph& graph, NodeId id) {
  const auto* op = op_of<Attention>(graph, id);
  if (op == nullptr || op->layout != "rows") return false;
  NodeId nodes[3];
  for (size_t i = 0; i < 3; ++i) {
    const ValueId v = input(graph, id, i);
    nodes[i] = projection(graph, v);
    if (nodes[i] == NodeId::none || input(graph, nodes[i], 0) != input(graph, nodes[0], 0)) return false;
    if (!(graph.type(v) == graph.type(input(graph, id, 0)))) return false;
    if (!(graph.node(nodes[i]).op == graph.node(nodes[0]).op)) return false;
  }
  const Parts parts = parts_of(graph.node(nodes[0]).op);
  const auto type_at = [&](NodeId node, size_t slot) { return graph.type(input(graph, node, slot)).dtype; };
  for (NodeId node : nodes)
    for (size_t slot = 0; slot <= parts.bias; ++slot)
      if (type_at(node, slot) != type_at(nodes[0], slot)) return false;
  std::vector<ValueId> inputs{input(graph, nodes[0], 0)};
  const auto join = [&](size_t slot, int64_t axis) {
    const auto whole = side_by_side(graph, nodes, slot, axis);
    if (whole.ok()) inputs.push_back(graph.add_constant(*whole));
    return whole.ok();
  };
  for (size_t slot : parts.slots)
    if (!join(slot, parts.axis)) return false;
  if (input(graph, nodes[0], parts.bias) != ValueId::none && !join(parts.bias, 0)) return false;
  const ValueId product = emit(graph, graph.node(nodes[0]).op, inputs, {nodes[0], nodes[1], nodes[2]});
  if (product == ValueId::none) return false;
  layout::name_side_by_side(graph, product,
                            std::array{output(graph, nodes[0]), output(graph, nodes[1]), output(graph, nodes[2])});
  const auto d = graph.type(input(graph, id, 0)).shape.dims;
  inputs = graph.node(id).inputs;
  inputs[0] = reshape(graph, product, Shape({d[0], d[1], 3, d[2], d[3]}), graph.node(id).sources);
  inputs[1] = inputs[2] = ValueId::none;
  if (inputs[0] == ValueId::none) return false;
  Attention packed = *op;
  packed.layout = "packed";
  return replace(graph, output(graph, id), emit(graph, packed, inputs, {id}));
}

}  // namespace

Result<int> merge_projections(Graph& graph, int limit) { return apply(graph, limit, {merge}); }

}  // namespace hone
