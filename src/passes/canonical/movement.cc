#include <algorithm>

#include "ops/movement.h"

#include "ops/matmul.h"
#include "ops/shape.h"
#include "ops/view.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// Transpose(Transpose(x)) -> one Transpose.
bool merge_transposes(Graph& graph, NodeId id) {
  const auto* second = op_of<Transpose>(graph, id);
  if (second == nullptr) return false;
  const ValueId middle = input(graph, id, 0);
  const auto* first = producer<Transpose>(graph, middle);
  if (first == nullptr || first->perm.size() != second->perm.size() || first->perm.empty()) return false;
  const NodeId inner = graph.value(middle).producer;
  const ValueId x = input(graph, inner, 0);
  const Perm perm = compose(first->perm, second->perm);
  if (is_identity(perm)) return replace(graph, output(graph, id), x);
  return replace(graph, output(graph, id), emit(graph, Transpose{perm}, {x}, {inner, id}));
}

// Squeeze and Unsqueeze to known dims -> Reshape.
bool views_are_reshapes(Graph& graph, NodeId id) {
  if (op_of<Squeeze>(graph, id) == nullptr && op_of<Unsqueeze>(graph, id) == nullptr) return false;
  const Shape shape = graph.type(output(graph, id)).shape;
  return replace(graph, output(graph, id), reshape(graph, input(graph, id, 0), shape, graph.node(id).sources));
}

bool copies_a_dim(const Graph& graph, NodeId id) {
  const auto* op = op_of<Reshape>(graph, id);
  const auto target = const_ints(graph, input(graph, id, 1));
  return !op->allow_zero && (!target || std::find(target->begin(), target->end(), 0) != target->end());
}

// Reshape(Reshape(x)) -> the second alone, when it says its dims itself.
bool merge_reshapes(Graph& graph, NodeId id) {
  if (op_of<Reshape>(graph, id) == nullptr) return false;
  const ValueId middle = input(graph, id, 0);
  const NodeId inner = graph.value(middle).producer;
  if (inner == NodeId::none || !graph.node(inner).op.view()) return false;
  const ValueId x = input(graph, inner, 0);
  const Shape shape = graph.type(output(graph, id)).shape;
  if (!copies_a_dim(graph, id))
    return replace(graph, output(graph, id),
                   emit(graph, graph.node(id).op, {x, input(graph, id, 1)}, {inner, id}));
  const ValueId merged = reshape(graph, x, shape, graph.node(id).sources);
  if (merged == ValueId::none) return false;
  graph.add_sources(graph.value(merged).producer, graph.node(inner).sources);
  return replace(graph, output(graph, id), merged);
}

bool swaps_last_two(const Perm& perm) {
  const size_t rank = perm.size();
  if (rank < 2) return false;
  Perm swapped(rank);
  for (size_t i = 0; i < rank; ++i) swapped[i] = static_cast<int64_t>(i);
  std::swap(swapped[rank - 1], swapped[rank - 2]);
  return perm == swapped;
}

// MatMul of an operand whose last two dims are swapped -> MatMul that reads it transposed.
bool transpose_in_matmul(Graph& graph, NodeId id) {
  const auto* matmul = op_of<MatMul>(graph, id);
  if (matmul == nullptr) return false;
  for (size_t side : {size_t{0}, size_t{1}}) {
    const ValueId v = input(graph, id, side);
    const auto* t = producer<Transpose>(graph, v);
    if (t == nullptr || !swaps_last_two(t->perm)) continue;
    MatMul op = *matmul;
    bool& flag = side == 0 ? op.trans_a : op.trans_b;
    flag = !flag;
    const NodeId inner = graph.value(v).producer;
    auto inputs = graph.node(id).inputs;
    inputs[side] = input(graph, inner, 0);
    return replace(graph, output(graph, id), emit(graph, op, inputs, {id, inner}));
  }
  return false;
}

}  // namespace

Result<int> merge_movements(Graph& graph, int limit) {
  return apply(graph, limit, {merge_transposes, views_are_reshapes, merge_reshapes, transpose_in_matmul});
}

}  // namespace hone
