#include "backends/nonnegative.h"

#include <algorithm>
#include <set>

#include "backends/integers.h"
#include "backends/interval.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"

namespace hone {
namespace {

bool is_nonnegative(const Graph& graph, const Node& node, const std::set<ValueId>& known) {
  if (const auto* pointwise = node.op.as<Pointwise>()) {
    std::vector<Interval> inputs;
    for (ValueId v : node.inputs) inputs.push_back(all_of(graph.type(v).dtype));
    return bound_of(pointwise->program, inputs).low >= 0;
  }
  const auto data = node.inputs.begin();
  return keeps_values(node.op) && std::all_of(data, data + static_cast<std::ptrdiff_t>(data_inputs(node)),
                                              [&](ValueId v) { return known.contains(v); });
}

template <class Product>
bool mark(Graph& graph, NodeId id) {
  const auto* found = graph.node(id).op.as<Product>();
  if (found == nullptr) return false;
  Product product = *found;
  product.nonnegative = true;
  graph.set_op(id, std::move(product));
  return true;
}

}  // namespace

void mark_nonnegative(Graph& graph) {
  std::set<ValueId> known;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.inputs.empty() || node.outputs.size() != 1) continue;
    if (known.contains(node.inputs[0])) mark<Conv>(graph, id) || mark<MatMul>(graph, id);
    if (graph.type(node.outputs[0]).dtype == DType::i8 && is_nonnegative(graph, node, known))
      known.insert(node.outputs[0]);
  }
}

}  // namespace hone
