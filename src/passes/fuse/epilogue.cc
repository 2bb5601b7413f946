#include <algorithm>
#include <map>

#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
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
  return op_of<MatMul>(graph, id) != nullptr || op_of<MatMulNBits>(graph, id) != nullptr;
}

namespace {

// Puts a node, or the nodes of one that is Fused already, into `body`. Each input is one of `inner` when it is among
// `computed`, else a new input of the body, and added to `inputs`. Returns the result.
ValueId put(Graph& body, const Graph& graph, NodeId id, ValueId computed, ValueId inner, std::vector<ValueId>& inputs) {
  const Node& node = graph.node(id);
  std::vector<ValueId> formals;
  for (ValueId v : node.inputs) {
    const bool here = v == computed && v != ValueId::none;
    formals.push_back(here || v == ValueId::none ? (here ? inner : v) : body.add_input({}, graph.type(v)));
    if (!here && v != ValueId::none) inputs.push_back(v);
  }
  const auto* fused = node.op.as<Fused>();
  if (fused == nullptr)
    return body.node(body.add_node_typed(node.op, formals, {graph.type(output(graph, id))})).outputs[0];
  const Graph& from = *fused->body;
  std::map<ValueId, ValueId> now{{ValueId::none, ValueId::none}};
  for (size_t i = 0; i < formals.size(); ++i) now[from.inputs()[i]] = formals[i];
  ValueId result = ValueId::none;
  for (NodeId part : from.order()) {
    std::vector<ValueId> operands;
    for (ValueId v : from.node(part).inputs) operands.push_back(now.at(v));
    const ValueId out = output(from, part);
    result = now[out] = body.node(body.add_node_typed(from.node(part).op, operands, {from.type(out)})).outputs[0];
  }
  return result;
}

}  // namespace

Op fused_op(const Graph& graph, NodeId first, NodeId second, std::vector<ValueId>& inputs) {
  auto body = std::make_shared<Graph>();
  const ValueId inner = put(*body, graph, first, ValueId::none, ValueId::none, inputs);
  body->add_output(put(*body, graph, second, output(graph, first), inner, inputs), "y");
  return Fused{std::move(body)};
}

// Convolution or matrix product followed by an activation, a residual sum or both -> one Fused node.
Result<int> fuse_epilogues(Graph& graph, int limit) { return apply(graph, limit, {fuse_epilogue_of}); }

}  // namespace hone
