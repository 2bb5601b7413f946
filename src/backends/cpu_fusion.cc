#include "backends/cpu_fusion.h"

#include <algorithm>

#include "backends/requantization.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

bool is_epilogue(const Graph& graph, NodeId id, ValueId sums) {
  const Node& node = graph.node(id);
  std::vector<Spread> spreads;
  for (ValueId v : node.inputs) spreads.push_back(spread_of(graph.type(v).shape, graph.type(output(graph, id)).shape));
  const auto place = std::find(node.inputs.begin(), node.inputs.end(), sums) - node.inputs.begin();
  return spreads[static_cast<size_t>(place)].by_element &&
         as_requantize(node.op.as<Pointwise>()->program, static_cast<int>(place), spreads).has_value();
}

void fuse_requantization(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr) return;
  const auto operands = graph.node(id).inputs;
  const auto sums = std::find_if(operands.begin(), operands.end(), [&](ValueId v) { return is_sums(graph, v); });
  if (sums == operands.end()) return;
  const NodeId product = graph.value(*sums).producer;
  const NodeId epilogue = is_epilogue(graph, id, *sums) ? id : split_behind_i8(graph, id, *sums);
  if (!is_epilogue(graph, epilogue, *sums)) return;
  std::vector<ValueId> inputs;
  Op fused = fused_op(graph, product, epilogue, inputs);
  replace(graph, output(graph, epilogue), emit(graph, std::move(fused), std::move(inputs), {product, epilogue}));
}

}  // namespace

void fuse_for_cpu(Graph& graph) {
  separate_sums(graph);
  for (NodeId id : graph.order())
    if (graph.alive(id)) fuse_requantization(graph, id);
}

}  // namespace hone
