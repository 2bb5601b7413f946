#include <algorithm>
#include <unordered_map>

#include "ir/graph.h"

namespace hone {
namespace {

// Walks two graphs together from their outputs; every pair of nodes met must be the same but for ids.
class Comparison {
 public:
  Comparison(const Graph& a, const Graph& b) : a_(a), b_(b) {}

  bool run() {
    if (a_.name != b_.name || a_.metadata != b_.metadata || a_.output_names() != b_.output_names()) return false;
    if (a_.inputs().size() != b_.inputs().size() || a_.node_count() != b_.node_count()) return false;
    for (size_t i = 0; i < a_.inputs().size(); ++i) {
      input_pair_.emplace(index(a_.inputs()[i]), index(b_.inputs()[i]));
      if (!same_value(a_.inputs()[i], b_.inputs()[i])) return false;
    }
    for (size_t i = 0; i < a_.outputs().size(); ++i)
      if (!pair(a_.outputs()[i], b_.outputs()[i])) return false;
    if (!walk()) return false;
    // Nodes that no output needs have no anchor but their order.
    std::vector<NodeId> rest_a = unpaired(a_, a_to_b_), rest_b = unpaired(b_, b_to_a_);
    for (size_t i = 0; i < rest_a.size() && i < rest_b.size(); ++i)
      if (!pair_nodes(rest_a[i], rest_b[i])) return false;
    return rest_a.size() == rest_b.size() && walk();
  }

 private:
  using NodeMap = std::unordered_map<uint32_t, uint32_t>;

  static std::vector<NodeId> unpaired(const Graph& g, const NodeMap& paired) {
    std::vector<NodeId> rest;
    for (NodeId id : g.order())
      if (!paired.contains(index(id))) rest.push_back(id);
    return rest;
  }

  bool walk() {
    while (!pending_.empty()) {
      const auto [x, y] = pending_.back();
      pending_.pop_back();
      if (!same_node(a_.node(x), b_.node(y))) return false;
    }
    return true;
  }

  bool same_value(ValueId x, ValueId y) const {
    const Value &v = a_.value(x), &w = b_.value(y);
    return v.name == w.name && v.type == w.type;
  }

  bool same_node(const Node& x, const Node& y) {
    if (x.inputs.size() != y.inputs.size() || x.outputs.size() != y.outputs.size()) return false;
    if (x.sources != y.sources || !(x.op == y.op)) return false;
    for (size_t i = 0; i < x.outputs.size(); ++i)
      if (!same_value(x.outputs[i], y.outputs[i])) return false;
    for (size_t i = 0; i < x.inputs.size(); ++i)
      if (!pair(x.inputs[i], y.inputs[i])) return false;
    return true;
  }

  // Two values in the same place: both absent, equal constants, the same input, or outputs of paired nodes.
  bool pair(ValueId x, ValueId y) {
    if (x == ValueId::none || y == ValueId::none) return x == y;
    const Value &v = a_.value(x), &w = b_.value(y);
    if (v.is_constant() || w.is_constant())
      return v.is_constant() && w.is_constant() && same_value(x, y) && v.constant == w.constant;
    if (v.producer == NodeId::none || w.producer == NodeId::none) {
      const auto found = input_pair_.find(index(x));
      return v.producer == w.producer && found != input_pair_.end() && found->second == index(y);
    }
    const auto &outs = a_.node(v.producer).outputs, &others = b_.node(w.producer).outputs;
    const auto slot = [](const std::vector<ValueId>& all, ValueId id) {
      return std::find(all.begin(), all.end(), id) - all.begin();
    };
    return slot(outs, x) == slot(others, y) && pair_nodes(v.producer, w.producer);
  }

  bool pair_nodes(NodeId x, NodeId y) {
    const auto [forward, first] = a_to_b_.emplace(index(x), index(y));
    const auto [backward, other_first] = b_to_a_.emplace(index(y), index(x));
    if (first && other_first) pending_.emplace_back(x, y);
    return forward->second == index(y) && backward->second == index(x);
  }

  const Graph &a_, &b_;
  NodeMap a_to_b_, b_to_a_;
  std::unordered_map<uint32_t, uint32_t> input_pair_;
  std::vector<std::pair<NodeId, NodeId>> pending_;
};

}  // namespace

bool equal(const Graph& a, const Graph& b) { return Comparison(a, b).run(); }

}  // namespace hone
