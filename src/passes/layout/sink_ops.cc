#include <algorithm>

#include "ops/gather.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/quantize.h"
#include "ops/reduce.h"
#include "ops/resize.h"
#include "ops/shape.h"
#include "passes/layout/layout.h"

namespace hone::layout {

using namespace rewrite;

Perm without(const Perm& perm, const std::vector<int64_t>& removed) {
  std::vector<int64_t> kept;  // of the tensor before, in the order of the transposed one
  for (size_t a = 0; a < perm.size(); ++a)
    if (std::find(removed.begin(), removed.end(), static_cast<int64_t>(a)) == removed.end()) kept.push_back(perm[a]);
  std::vector<int64_t> sorted = kept;
  std::sort(sorted.begin(), sorted.end());
  Perm out;
  for (int64_t axis : kept) out.push_back(std::lower_bound(sorted.begin(), sorted.end(), axis) - sorted.begin());
  return out;
}

namespace {

// A list with an entry for each axis of the transposed tensor, in the order of the tensor before.
std::vector<int64_t> reorder(const Perm& perm, const std::vector<int64_t>& list) {
  std::vector<int64_t> out(list.size());
  for (size_t i = 0; i < list.size(); ++i) out[static_cast<size_t>(perm[i])] = list[i];
  return out;
}

std::optional<std::vector<int64_t>> axes_before(const Perm& perm, const std::vector<int64_t>& axes) {
  std::vector<int64_t> out;
  for (int64_t a : axes) {
    const auto axis = normal_axis(a, static_cast<int64_t>(perm.size()));
    if (!axis) return std::nullopt;
    out.push_back(before(perm, *axis));
  }
  return out;
}

// The node's inputs with u in the first place.
std::vector<ValueId> over(const Graph& graph, NodeId id, ValueId u) {
  auto inputs = graph.node(id).inputs;
  inputs[0] = u;
  return inputs;
}

template <class T>
std::optional<Sunk> with_axis(const Graph& graph, NodeId id, ValueId u, const Perm& perm, T op) {
  const auto axis = normal_axis(op.axis, static_cast<int64_t>(perm.size()));
  if (!axis) return std::nullopt;
  op.axis = before(perm, *axis);
  return Sunk{op, over(graph, id, u), perm};
}

std::optional<Sunk> arg_reduce(const Graph& graph, NodeId id, ValueId u, const Perm& perm, const ArgReduce& op) {
  const auto axis = normal_axis(op.axis, static_cast<int64_t>(perm.size()));
  auto sunk = with_axis(graph, id, u, perm, op);
  if (sunk && !op.keep_dims) sunk->perm = without(perm, {*axis});
  return sunk;
}

std::optional<Sunk> reduce(Graph& graph, NodeId id, ValueId u, const Perm& perm, const Reduce& op) {
  auto inputs = over(graph, id, u);
  const ValueId axes = input(graph, id, 1);
  const auto list = axes == ValueId::none ? std::vector<int64_t>() : const_ints(graph, axes);
  if (!list) return std::nullopt;
  if (list->empty()) {
    if (op.noop_without_axes || op.keep_dims) return Sunk{op, inputs, perm};
    return Sunk{op, inputs, {}};
  }
  auto moved = axes_before(perm, *list);
  if (!moved) return std::nullopt;
  std::vector<int64_t> removed;
  for (int64_t a : *list) removed.push_back(*normal_axis(a, static_cast<int64_t>(perm.size())));
  std::sort(moved->begin(), moved->end());
  inputs[1] = add_ints(graph, *moved);
  return Sunk{op, inputs, op.keep_dims ? perm : without(perm, removed)};
}

// Inputs: x, starts, ends, axes, steps.
std::optional<Sunk> slice(Graph& graph, NodeId id, ValueId u, const Perm& perm, const Slice& op) {
  auto inputs = over(graph, id, u);
  if (inputs.size() < 3) return std::nullopt;
  inputs.resize(std::max<size_t>(inputs.size(), 4), ValueId::none);
  std::optional<std::vector<int64_t>> axes;
  if (inputs[3] != ValueId::none) {
    axes = const_ints(graph, inputs[3]);
  } else if (const auto count = graph.type(inputs[1]).shape.concrete(); count && count->size() == 1) {
    axes.emplace();
    for (int64_t i = 0; i < (*count)[0]; ++i) axes->push_back(i);
  }
  if (!axes) return std::nullopt;
  const auto moved = axes_before(perm, *axes);
  if (!moved) return std::nullopt;
  inputs[3] = add_ints(graph, *moved);
  return Sunk{op, inputs, perm};
}

// Inputs: x, pads, value, axes.
std::optional<Sunk> pad(Graph& graph, NodeId id, ValueId u, const Perm& perm, const Pad& op) {
  auto inputs = over(graph, id, u);
  const auto rank = perm.size();
  if (input(graph, id, 3) != ValueId::none) {
    const auto axes = const_ints(graph, inputs[3]);
    const auto moved = axes ? axes_before(perm, *axes) : std::nullopt;
    if (!moved) return std::nullopt;
    inputs[3] = add_ints(graph, *moved);
    return Sunk{op, inputs, perm};
  }
  if (const auto pads = const_ints(graph, inputs[1]); pads && pads->size() == 2 * rank) {
    const auto half = pads->begin() + static_cast<std::ptrdiff_t>(rank);
    auto moved = reorder(perm, {pads->begin(), half});
    const auto ends = reorder(perm, {half, pads->end()});
    moved.insert(moved.end(), ends.begin(), ends.end());
    inputs[1] = add_ints(graph, moved);
    return Sunk{op, inputs, perm};
  }
  inputs.resize(4, ValueId::none);
  inputs[3] = add_ints(graph, perm);
  return Sunk{op, inputs, perm};
}

// Expand and Tile: the second input has an entry for each dim.
template <class T>
std::optional<Sunk> per_dim(Graph& graph, NodeId id, ValueId u, const Perm& perm, const T& op) {
  auto list = const_ints(graph, input(graph, id, 1));
  if (!list || list->size() > perm.size()) return std::nullopt;
  list->insert(list->begin(), perm.size() - list->size(), 1);
  return Sunk{op, {u, add_ints(graph, reorder(perm, *list))}, perm};
}

// Inputs: x, roi, scales, sizes; each has an entry for each of `axes`, so that renaming those is all it takes.
std::optional<Sunk> resize(Graph& graph, NodeId id, ValueId u, const Perm& perm, Resize op) {
  if (!op.axes.empty()) {
    const auto moved = axes_before(perm, op.axes);
    if (!moved) return std::nullopt;
    op.axes = *moved;
    return Sunk{op, over(graph, id, u), perm};
  }
  op.axes = perm;
  return Sunk{op, over(graph, id, u), perm};
}

bool surely_same(const Dim& a, const Dim& b) { return a == b && (a.known() || !a.symbol.empty()); }

// A Reshape that only drops dims of 1.
std::optional<Sunk> squeeze(Graph& graph, NodeId id, ValueId u, const Perm& perm) {
  const Shape from = graph.type(input(graph, id, 0)).shape, to = graph.type(output(graph, id)).shape;
  if (!to.ranked || to.dims.size() >= from.dims.size()) return std::nullopt;
  std::vector<int64_t> removed;
  size_t at = 0;
  for (size_t a = 0; a < from.dims.size(); ++a) {
    if (at < to.dims.size() && surely_same(from.dims[a], to.dims[at])) ++at;
    else if (from.dims[a].value == 1) removed.push_back(static_cast<int64_t>(a));
    else return std::nullopt;
  }
  if (at != to.dims.size()) return std::nullopt;
  Shape target;
  const Shape& own = graph.type(u).shape;
  for (size_t a = 0; a < own.dims.size(); ++a) {
    const bool gone = std::any_of(removed.begin(), removed.end(),
                                  [&](int64_t r) { return before(perm, r) == static_cast<int64_t>(a); });
    if (!gone) target.dims.push_back(own.dims[a]);
  }
  const auto dims = reshape_target(own, target);
  if (!dims) return std::nullopt;
  return Sunk{Reshape{.allow_zero = dims->allow_zero}, {u, add_ints(graph, dims->dims)}, without(perm, removed)};
}

// A Reshape that leaves batch and channels as they are does to the spatial dims what it does where channels come last.
std::optional<Sunk> reshape_spatial(Graph& graph, NodeId id, ValueId u, const Perm& perm) {
  const Shape from = graph.type(input(graph, id, 0)).shape, to = graph.type(output(graph, id)).shape;
  if (!to.ranked || to.rank() < 3 || perm != to_first(from.rank())) return std::nullopt;
  if (!surely_same(from.dims[0], to.dims[0]) || !surely_same(from.dims[1], to.dims[1])) return std::nullopt;
  Shape target = to;
  std::rotate(target.dims.begin() + 1, target.dims.begin() + 2, target.dims.end());
  const auto dims = reshape_target(graph.type(u).shape, target);
  if (!dims) return std::nullopt;
  return Sunk{Reshape{.allow_zero = dims->allow_zero}, {u, add_ints(graph, dims->dims)}, to_first(to.rank())};
}

// Quantize and Dequantize, whose scales may belong to an axis.
template <class T>
std::optional<Sunk> scaled(const Graph& graph, NodeId id, ValueId u, const Perm& perm, const T& op) {
  const auto scales = graph.type(input(graph, id, 1)).shape.concrete();
  if (!scales || op.block != 0) return std::nullopt;
  if (element_count(*scales) == 1) return Sunk{op, over(graph, id, u), perm};
  return with_axis(graph, id, u, perm, op);
}

std::optional<Sunk> gather(const Graph& graph, NodeId id, ValueId u, const Perm& perm, const Gather& op) {
  if (graph.type(input(graph, id, 1)).shape.rank() != 1) return std::nullopt;
  return with_axis(graph, id, u, perm, op);
}

}  // namespace

std::optional<Sunk> sink_one(Graph& graph, NodeId id, ValueId u, const Perm& perm) {
  if (const auto* op = op_of<Reduce>(graph, id)) return reduce(graph, id, u, perm, *op);
  if (const auto* op = op_of<ArgReduce>(graph, id)) return arg_reduce(graph, id, u, perm, *op);
  if (const auto* op = op_of<Softmax>(graph, id)) return with_axis(graph, id, u, perm, *op);
  if (const auto* op = op_of<Split>(graph, id)) return with_axis(graph, id, u, perm, *op);
  if (const auto* op = op_of<Gather>(graph, id)) return gather(graph, id, u, perm, *op);
  if (const auto* op = op_of<Slice>(graph, id)) return slice(graph, id, u, perm, *op);
  if (const auto* op = op_of<Pad>(graph, id)) return pad(graph, id, u, perm, *op);
  if (const auto* op = op_of<Expand>(graph, id)) return per_dim(graph, id, u, perm, *op);
  if (const auto* op = op_of<Tile>(graph, id)) return per_dim(graph, id, u, perm, *op);
  if (const auto* op = op_of<Resize>(graph, id)) return resize(graph, id, u, perm, *op);
  if (const auto* op = op_of<Quantize>(graph, id)) return scaled(graph, id, u, perm, *op);
  if (const auto* op = op_of<Dequantize>(graph, id)) return scaled(graph, id, u, perm, *op);
  if (const auto* op = op_of<DynamicQuantize>(graph, id)) return Sunk{*op, over(graph, id, u), perm};
  if (op_of<Reshape>(graph, id) != nullptr) {
    auto sunk = squeeze(graph, id, u, perm);
    return sunk ? sunk : reshape_spatial(graph, id, u, perm);
  }
  return std::nullopt;
}

}  // namespace hone::layout
