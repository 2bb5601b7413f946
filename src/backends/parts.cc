#include "backends/parts.h"

#include <algorithm>

#include "ops/control.h"
#include "ops/movement.h"
#include "ops/shape.h"

namespace hone {
namespace {

bool is_fixed(const TensorType& type) { return type.shape.known() && size_of(type.dtype) > 0; }

// The value whose memory `v` shows, through the views that only it needs.
ValueId viewed(const Graph& graph, ValueId v) {
  while (true) {
    const Value& value = graph.value(v);
    if (value.producer == NodeId::none || !graph.node(value.producer).op.view()) return v;
    const ValueId below = graph.node(value.producer).inputs[0];
    if (!is_fixed(graph.type(v)) || !is_fixed(graph.type(below))) return v;
    v = below;
  }
}

bool written_by_a_kernel(const Graph& graph, ValueId v) {
  const NodeId producer = graph.value(v).producer;
  if (producer == NodeId::none) return false;
  const Node& node = graph.node(producer);
  if (node.op.view() || !bodies_of(node.op).empty()) return false;
  return !(node.op.as<Split>() != nullptr && !part_offsets(graph, producer).empty());
}

}  // namespace

std::vector<int64_t> part_offsets(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const auto* concat = node.op.as<Concat>();
  const auto* split = node.op.as<Split>();
  if (concat == nullptr && split == nullptr) return {};
  const TensorType& whole = graph.type(concat != nullptr ? node.outputs[0] : node.inputs[0]);
  if (!is_fixed(whole)) return {};
  const Dims dims = *whole.shape.concrete();
  const int64_t given = concat != nullptr ? concat->axis : split->axis;
  const auto axis = static_cast<std::ptrdiff_t>(given < 0 ? given + whole.shape.rank() : given);
  if (std::any_of(dims.begin(), dims.begin() + axis, [](int64_t d) { return d != 1; })) return {};
  std::vector<int64_t> offsets;
  int64_t at = 0;
  for (ValueId v : concat != nullptr ? node.inputs : node.outputs) {
    if (!is_fixed(graph.type(v))) return {};
    offsets.push_back(at);
    at += element_count(*graph.type(v).shape.concrete()) * static_cast<int64_t>(size_of(whole.dtype));
  }
  return offsets;
}

std::map<ValueId, Part> parts_of_concats(const Graph& graph) {
  std::map<ValueId, Part> parts;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.op.as<Concat>() == nullptr) continue;
    const auto offsets = part_offsets(graph, id);
    for (size_t i = 0; i < offsets.size(); ++i) {
      const ValueId v = viewed(graph, node.inputs[i]);
      if (written_by_a_kernel(graph, v)) parts.emplace(v, Part{node.outputs[0], offsets[i]});
    }
  }
  return parts;
}

}  // namespace hone
