#include "tactics/cuda/after.h"

#include <algorithm>

#include "ops/fused.h"
#include "ops/pointwise.h"

namespace hone::cuda {

AfterView view_after(const Problem& problem) {
  AfterView whole{.plain = problem};
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return whole;
  const Graph& body = *fused->body;
  const auto order = body.order();
  if (order.size() != 2) return whole;
  const Node &op = body.node(order[0]), &last = body.node(order[1]);
  const auto* pointwise = last.op.as<Pointwise>();
  if (pointwise == nullptr || op.outputs.size() != 1) return whole;
  // Inputs of the body are in the order in which its nodes read them.
  size_t read = 0;
  const auto is_next = [&](ValueId v) {
    return read < std::min(problem.inputs.size(), body.inputs().size()) && body.inputs()[read] == v;
  };

  AfterView view{.plain = {.op = op.op, .outputs = {body.type(op.outputs[0])}}, .after = pointwise->program};
  for (const ValueId v : op.inputs) {
    const bool given = v != ValueId::none;
    if (given && !is_next(v)) return whole;
    view.plain.inputs.push_back(given ? problem.inputs[read] : TensorType{});
    view.plain.constants.push_back(given && problem.is_constant(read) ? problem.constants[read] : Tensor());
    read += given ? 1 : 0;
  }
  if (problem.constants.empty()) view.plain.constants.clear();
  for (const ValueId v : last.inputs) {
    const bool result = v == op.outputs[0];
    if (!result && !is_next(v)) return whole;
    view.operands.push_back(result ? -1 : static_cast<int>(read++));
  }
  return view;
}

}  // namespace hone::cuda
