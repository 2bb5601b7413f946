#include "ops/attention.h"
#include "ops/elements.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/shape.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// v [batch, length, heads, size] = Reshape(MatMul(x, constant weights, constant bias?)): that product, else none.
NodeId projection(const Graph& graph, ValueId v) {
  if (producer<Reshape>(graph, v) == nullptr || !used_once(graph, v)) return NodeId::none;
  const ValueId flat = input(graph, graph.value(v).producer, 0);
  const NodeId id = graph.value(flat).producer;
  const auto* matmul = op_of<MatMul>(graph, id);
  if (matmul == nullptr || matmul->trans_a || matmul->trans_b || !used_once(graph, flat)) return NodeId::none;
  const Shape &shape = graph.type(v).shape, &from = graph.type(flat).shape;
  if (!shape.known() || shape.rank() != 4 || from.rank() != 3) return NodeId::none;
  if (!(from.dims[0] == shape.dims[0]) || !(from.dims[1] == shape.dims[1])) return NodeId::none;
  const Tensor& weights = graph.value(input(graph, id, 1)).constant;
  const ValueId bias = input(graph, id, 2);
  if (!weights.defined() || weights.rank() != 2) return NodeId::none;
  return bias == ValueId::none || graph.value(bias).is_constant() ? id : NodeId::none;
}

// One constant of the constants at `slot` of three nodes, side by side along the last dim.
Result<Tensor> side_by_side(const Graph& graph, const NodeId (&nodes)[3], size_t slot) {
  Tensors parts;
  for (NodeId id : nodes) parts.push_back(graph.value(input(graph, id, slot)).constant);
  HONE_TRY(const Tensors whole, Concat{.axis = -1}.evaluate({parts, 1}));
  return whole[0];
}

// Attention on three projections of one value -> one MatMul with their weights side by side, and packed Attention.
bool merge(Graph& graph, NodeId id) {
  const auto* op = op_of<Attention>(graph, id);
  if (op == nullptr || op->layout != "rows") return false;
  NodeId nodes[3];
  for (size_t i = 0; i < 3; ++i) {
    const ValueId v = input(graph, id, i);
    nodes[i] = projection(graph, v);
    if (nodes[i] == NodeId::none || input(graph, nodes[i], 0) != input(graph, nodes[0], 0)) return false;
    if (!(graph.type(v) == graph.type(input(graph, id, 0)))) return false;
    if ((input(graph, nodes[i], 2) == ValueId::none) != (input(graph, nodes[0], 2) == ValueId::none)) return false;
  }
  const bool biased = input(graph, nodes[0], 2) != ValueId::none;
  const auto weights = side_by_side(graph, nodes, 1);
  const auto bias = biased ? side_by_side(graph, nodes, 2) : Result<Tensor>(Tensor());
  if (!weights.ok() || !bias.ok()) return false;
  std::vector<ValueId> inputs{input(graph, nodes[0], 0), graph.add_constant(*weights)};
  if (biased) inputs.push_back(graph.add_constant(*bias));
  const ValueId product = emit(graph, MatMul{}, inputs, {nodes[0], nodes[1], nodes[2]});
  if (product == ValueId::none) return false;
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
