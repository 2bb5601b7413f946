#include <algorithm>

#include "ops/movement.h"
#include "passes/layout/layout.h"
#include "passes/passes.h"

namespace hone {
namespace {

using namespace rewrite;
using layout::Sunk;

// The channels-first Transpose that makes `v`, as its perm; else null. Two in a row are merged first.
const Perm* first_perm(const Graph& graph, ValueId v) {
  const auto* t = producer<Transpose>(graph, v);
  if (t == nullptr || t->perm.size() < 3) return nullptr;
  if (producer<Transpose>(graph, input(graph, graph.value(v).producer, 0)) != nullptr) return nullptr;
  return t->perm == layout::to_first(static_cast<int64_t>(t->perm.size())) ? &t->perm : nullptr;
}

// A shape seen at `rank`, ones in front.
Shape at_rank(const Shape& shape, int64_t rank) {
  Shape out = shape;
  out.dims.insert(out.dims.begin(), static_cast<size_t>(rank) - shape.dims.size(), Dim(1));
  return out;
}

bool one_element(const Shape& shape) {
  return shape.ranked && std::all_of(shape.dims.begin(), shape.dims.end(), [](const Dim& d) { return d.value == 1; });
}

// What it takes to have an input in the order before `perm`.
enum class Cost { free, transpose, impossible };

Cost cost_of(const Graph& graph, ValueId v, const Perm& perm) {
  const auto rank = static_cast<int64_t>(perm.size());
  const Value& value = graph.value(v);
  if (const auto* t = producer<Transpose>(graph, v); t != nullptr && t->perm == perm) return Cost::free;
  if (!value.type.shape.ranked || value.type.shape.rank() > rank) return Cost::impossible;
  if (value.is_constant() || one_element(value.type.shape)) return Cost::free;
  const Shape shape = at_rank(value.type.shape, rank);
  if (value.type.shape.rank() < rank && !reshape_target(value.type.shape, shape)) return Cost::impossible;
  return moves_only_ones(inverse(perm), shape) ? Cost::free : Cost::transpose;
}

// The value u of which `v` (broadcast to perm's rank) is the transpose.
ValueId untransposed(Graph& graph, ValueId v, const Perm& perm, NodeId user) {
  const auto rank = static_cast<int64_t>(perm.size());
  if (const auto* t = producer<Transpose>(graph, v); t != nullptr && t->perm == perm)
    return input(graph, graph.value(v).producer, 0);
  const Shape shape = graph.type(v).shape;
  if (one_element(shape)) return v;
  if (shape.rank() < rank) v = reshape(graph, v, at_rank(shape, rank), graph.node(user).sources);
  return v == ValueId::none ? v : emit(graph, Transpose{inverse(perm)}, {v}, {user});
}

// Ops whose inputs are all of one order: Pointwise and Concat.
std::optional<Sunk> sink_many(Graph& graph, NodeId id, const Perm& perm) {
  const auto* concat = op_of<Concat>(graph, id);
  if (concat == nullptr && op_of<Pointwise>(graph, id) == nullptr) return std::nullopt;
  if (graph.type(output(graph, id)).shape.rank() != static_cast<int64_t>(perm.size())) return std::nullopt;
  int gained = 0, paid = 0;
  for (ValueId v : graph.node(id).inputs) {
    const Cost cost = cost_of(graph, v, perm);
    if (cost == Cost::impossible) return std::nullopt;
    if (cost == Cost::transpose) ++paid;
    const Perm* own = first_perm(graph, v);
    if (own != nullptr && *own == perm) ++gained;
  }
  // An exchange of one Transpose for another is worth it only where it cannot be undone by the same rule.
  if (paid > 0 && (paid > gained || perm == inverse(perm))) return std::nullopt;
  Sunk sunk{graph.node(id).op, {}, perm};
  if (concat != nullptr) {
    const auto axis = normal_axis(concat->axis, static_cast<int64_t>(perm.size()));
    if (!axis) return std::nullopt;
    sunk.op = Concat{.axis = layout::before(perm, *axis)};
  }
  for (ValueId v : std::vector<ValueId>(graph.node(id).inputs)) {
    sunk.inputs.push_back(untransposed(graph, v, perm, id));
    if (sunk.inputs.back() == ValueId::none) return std::nullopt;
  }
  return sunk;
}

// op(Transpose(x)) -> Transpose(op'(x)), where the Transpose makes channels come first.
bool sink(Graph& graph, NodeId id) {
  const std::vector<ValueId> inputs = graph.node(id).inputs;
  const auto carrier =
      std::find_if(inputs.begin(), inputs.end(), [&](ValueId v) { return first_perm(graph, v) != nullptr; });
  if (carrier == inputs.end()) return false;
  const Perm perm = *first_perm(graph, *carrier);
  auto sunk = sink_many(graph, id, perm);
  if (!sunk && carrier == inputs.begin())
    sunk = layout::sink_one(graph, id, input(graph, graph.value(*carrier).producer, 0), perm);
  if (!sunk) return false;
  const std::vector<ValueId> outputs = graph.node(id).outputs;
  const auto added = graph.add_node(sunk->op, sunk->inputs, outputs.size(), graph.node(id).sources);
  if (!added.ok()) return false;
  for (size_t i = 0; i < outputs.size(); ++i) {
    ValueId now = graph.node(*added).outputs[i];
    const bool scalar = graph.type(now).shape.rank() == 0;
    if (!scalar && sunk->perm == layout::to_first(static_cast<int64_t>(sunk->perm.size())))
      layout::name_channels_last(graph, now, outputs[i]);
    if (!scalar && !is_identity(sunk->perm)) now = emit(graph, Transpose{sunk->perm}, {now}, {});
    if (now == ValueId::none) return false;
    replace(graph, outputs[i], now);
  }
  return true;
}

// A Transpose that moves dims of 1 only -> Reshape.
bool transpose_is_reshape(Graph& graph, NodeId id) {
  const auto* t = op_of<Transpose>(graph, id);
  const ValueId x = input(graph, id, 0);
  if (t == nullptr || !moves_only_ones(t->perm, graph.type(x).shape)) return false;
  return replace(graph, output(graph, id),
                 reshape(graph, x, graph.type(output(graph, id)).shape, graph.node(id).sources));
}

}  // namespace

Result<int> sink_transposes(Graph& graph, int limit) { return apply(graph, limit, {sink}); }

Result<int> transposes_to_reshapes(Graph& graph, int limit) { return apply(graph, limit, {transpose_is_reshape}); }

}  // namespace hone
