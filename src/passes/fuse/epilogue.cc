#include <algorithm>

#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/matmul.h"
#include "passes/fuse/body.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

bool fuse_epilogue_of(Graph& graph, NodeId id) {
  const auto* pointwise = op_of<Pointwise>(graph, id);
  if (pointwise == nullptr) return false;
  const TensorType& type = graph.type(output(graph, id));
  const std::vector<ValueId>& operands = graph.node(id).inputs;
  for (size_t i = 0; i < operands.size(); ++i) {
    const ValueId v = operands[i];
    const NodeId anchor = graph.value(v).producer;
    if (anchor == NodeId::none || !takes_epilogue(graph, anchor) || !used_once(graph, v)) continue;
    if (!(graph.type(v) == type) || !type.shape.known()) continue;
    const auto form = as_epilogue(pointwise->program, static_cast<int>(i));
    if (!form || operands.size() != (form->residual < 0 ? 1u : 2u)) continue;
    if (form->residual >= 0 && !(graph.type(operands[static_cast<size_t>(form->residual)]) == type)) continue;
    std::vector<ValueId> inputs;
    Op fused = fused_op(graph, anchor, id, inputs);
    return replace(graph, output(graph, id), emit(graph, std::move(fused), std::move(inputs), {anchor, id}));
  }
  return false;
}

}  // namespace

bool takes_epilogue(const Graph& graph, NodeId id) {
  if (const auto* conv = op_of<Conv>(graph, id)) return conv->channels_last;
  if (const auto* conv = op_of<ConvTranspose>(graph, id)) return conv->channels_last;
  return op_of<MatMul>(graph, id) != nullptr;
}

Op fused_op(const Graph& graph, NodeId anchor, NodeId pointwise, std::vector<ValueId>& inputs) {
  auto body = std::make_shared<Graph>();
  const auto formals = [&](const std::vector<ValueId>& actual, ValueId computed, ValueId inner) {
    std::vector<ValueId> list;
    for (ValueId v : actual) {
      if (v == computed && computed != ValueId::none) {
        list.push_back(inner);
      } else {
        list.push_back(v == ValueId::none ? v : body->add_input({}, graph.type(v)));
        if (v != ValueId::none) inputs.push_back(v);
      }
    }
    return list;
  };
  const ValueId result = output(graph, anchor), out = output(graph, pointwise);
  const auto first = body->add_node_typed(graph.node(anchor).op, formals(graph.node(anchor).inputs, ValueId::none, {}),
                                          {graph.type(result)});
  const ValueId inner = body->node(first).outputs[0];
  const auto second = body->add_node_typed(graph.node(pointwise).op,
                                           formals(graph.node(pointwise).inputs, result, inner), {graph.type(out)});
  body->add_output(body->node(second).outputs[0], "y");
  return Fused{std::move(body)};
}

// Convolution or matrix product followed by an activation, a residual sum or both -> one Fused node.
Result<int> fuse_epilogues(Graph& graph, int limit) { return apply(graph, limit, {fuse_epilogue_of}); }

}  // namespace hone
