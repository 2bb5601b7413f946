#include <algorithm>
#include <unordered_map>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// Larger constants are compared by address only: equal ones come from one initializer.
constexpr int64_t kMaxCompared = 4096;

bool has_subgraph(const Attrs& attrs) {
  return std::any_of(attrs.begin(), attrs.end(), [](const auto& attr) {
    return std::holds_alternative<std::shared_ptr<const Graph>>(attr.second);
  });
}

bool same_constant(const Tensor& a, const Tensor& b) {
  if (a.type() != b.type() || a.dims() != b.dims()) return false;
  return (a.type() != DType::string && a.raw() == b.raw()) || (a.count() <= kMaxCompared && a == b);
}

std::string key_of(const Tensor& t) {
  std::string key = fmt::format("{}{}", name(t.type()), to_string(t.dims()));
  if (t.type() != DType::string && t.count() <= kMaxCompared)
    key.append(static_cast<const char*>(t.raw()), std::min<size_t>(t.bytes(), 64));
  return key;
}

// Equal constants -> one of them.
int merge_constants(Graph& graph, int limit) {
  int changes = 0;
  std::unordered_map<std::string, std::vector<ValueId>> seen;
  for (ValueId v : graph.values()) {
    const Value& value = graph.value(v);
    if (!value.is_constant() || graph.is_output(v)) continue;
    auto& candidates = seen[key_of(value.constant)];
    const auto same = std::find_if(candidates.begin(), candidates.end(), [&](ValueId other) {
      return same_constant(graph.value(other).constant, value.constant);
    });
    if (same == candidates.end()) {
      candidates.push_back(v);
    } else if (changes < limit) {
      graph.replace_uses(v, *same);
      ++changes;
    }
  }
  return changes;
}

std::string key_of(const Node& n) {
  std::string key(n.op.name());
  for (ValueId v : n.inputs) key += fmt::format(",{}", index(v));
  return key;
}

// The same pure op on the same inputs -> the first one.
int merge_nodes(Graph& graph, int limit) {
  int changes = 0;
  std::unordered_map<std::string, std::vector<NodeId>> seen;
  for (NodeId id : graph.order()) {
    if (changes >= limit) break;
    const Node& n = graph.node(id);
    if (!n.op.pure() || has_subgraph(n.op.attrs())) continue;
    auto& candidates = seen[key_of(n)];
    const auto same = std::find_if(candidates.begin(), candidates.end(), [&](NodeId other) {
      return graph.node(other).outputs.size() == n.outputs.size() && graph.node(other).op == n.op;
    });
    if (same == candidates.end()) {
      candidates.push_back(id);
      continue;
    }
    graph.add_sources(*same, n.sources);
    const std::vector<ValueId> outputs = n.outputs;
    for (size_t i = 0; i < outputs.size(); ++i) replace(graph, outputs[i], graph.node(*same).outputs[i]);
    ++changes;
  }
  return changes;
}

}  // namespace

Result<int> merge_duplicates(Graph& graph, int limit) {
  const int changes = merge_constants(graph, limit);
  return changes + merge_nodes(graph, limit - changes);
}

}  // namespace hone
