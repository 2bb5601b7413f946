#include <algorithm>

#include "ops/movement.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/view.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

bool all_equal(const std::optional<std::vector<int64_t>>& values, int64_t expected) {
  return values && std::all_of(values->begin(), values->end(), [&](int64_t v) { return v == expected; });
}

// At most one dim may differ in what is known of it: the element count settles that one.
bool same_elements_same_dims(const Shape& a, const Shape& b) {
  if (!a.ranked || !b.ranked || a.dims.size() != b.dims.size()) return false;
  int open = 0;
  for (size_t i = 0; i < a.dims.size(); ++i) {
    const Dim &x = a.dims[i], &y = b.dims[i];
    if (x == y && (x.known() || !x.symbol.empty())) {
      if (x.value == 0) return false;
      continue;
    }
    if (x.known() && y.known()) return false;
    ++open;
  }
  return open <= 1;
}

bool slice_keeps_all(const Graph& graph, NodeId id, bool same) {
  const ValueId steps = input(graph, id, 4);
  if (steps != ValueId::none && !all_equal(const_ints(graph, steps), 1)) return false;
  if (same) return true;
  const auto ends = const_ints(graph, input(graph, id, 2));
  return all_equal(const_ints(graph, input(graph, id, 1)), 0) && ends &&
         std::all_of(ends->begin(), ends->end(), [](int64_t e) { return e >= INT32_MAX; });
}

bool reduces_nothing(const Graph& graph, NodeId id, const Reduce& reduce) {
  static constexpr std::string_view kKept[] = {"sum", "mean", "max", "min", "prod"};
  if (std::find(std::begin(kKept), std::end(kKept), reduce.kind) == std::end(kKept) || !reduce.noop_without_axes)
    return false;
  const ValueId axes = input(graph, id, 1);
  const auto values = const_ints(graph, axes);
  return axes == ValueId::none || (values && values->empty());
}

// An op that returns its first input -> that input.
bool drop_identity(Graph& graph, NodeId id) {
  const Node& n = graph.node(id);
  const ValueId x = input(graph, id, 0);
  if (x == ValueId::none || n.outputs.size() != 1) return false;
  const Shape &from = graph.type(x).shape, &to = graph.type(n.outputs[0]).shape;
  const bool same = same_shape(from, to);
  const auto drops = [&] {
    if (const auto* t = n.op.as<Transpose>()) return !t->perm.empty() && is_identity(t->perm);
    if (n.op.as<Reshape>() != nullptr) return same_elements_same_dims(from, to);
    if (n.op.as<Squeeze>() != nullptr) return same;
    if (const auto* t = n.op.as<Unsqueeze>()) return t->axes.empty() && input(graph, id, 1) == ValueId::none;
    if (n.op.as<Expand>() != nullptr)
      return same || (from.ranked && from.rank() == to.rank() && all_equal(const_ints(graph, input(graph, id, 1)), 1));
    if (n.op.as<Tile>() != nullptr) return all_equal(const_ints(graph, input(graph, id, 1)), 1);
    if (n.op.as<Slice>() != nullptr) return slice_keeps_all(graph, id, same);
    if (n.op.as<Pad>() != nullptr) return all_equal(const_ints(graph, input(graph, id, 1)), 0);
    if (n.op.as<Concat>() != nullptr) return n.inputs.size() == 1;
    if (n.op.as<Split>() != nullptr) return true;
    if (const auto* r = n.op.as<Reduce>()) return reduces_nothing(graph, id, *r);
    const auto* p = n.op.as<Pointwise>();
    return p != nullptr && n.inputs.size() == 1 && p->program.code.size() == 1 && p->program.code[0].fn == Fn::input;
  };
  return drops() && replace(graph, n.outputs[0], x);
}

// A list of parts of which one is all there is: Concat drops inputs with no elements along its axis.
bool drop_empty_parts(Graph& graph, NodeId id) {
  const auto* concat = op_of<Concat>(graph, id);
  if (concat == nullptr) return false;
  const auto inputs = graph.node(id).inputs;
  const auto axis = normal_axis(concat->axis, graph.type(output(graph, id)).shape.rank());
  if (!axis) return false;
  std::vector<ValueId> kept;
  for (ValueId v : inputs) {
    const Shape& s = graph.type(v).shape;
    if (s.rank() <= *axis || s.dims[static_cast<size_t>(*axis)].value != 0) kept.push_back(v);
  }
  if (kept.empty() || kept.size() == inputs.size()) return false;
  return replace(graph, output(graph, id), emit(graph, graph.node(id).op, kept, {id}));
}

}  // namespace

Result<int> remove_identities(Graph& graph, int limit) {
  return apply(graph, limit, {drop_identity, drop_empty_parts});
}

}  // namespace hone
