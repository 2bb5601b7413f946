#include "tactics/cuda/epilogue.h"

#include <algorithm>

#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/common.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

struct Body {
  const Node *anchor = nullptr, *pointwise = nullptr;
};

std::optional<Body> body_of(const Fused& fused) {
  const auto order = fused.body->order();
  if (order.size() != 2 || fused.body->node(order[1]).op.as<Pointwise>() == nullptr) return std::nullopt;
  return Body{&fused.body->node(order[0]), &fused.body->node(order[1])};
}

}  // namespace

std::optional<AnchorView> view_anchor(const Problem& problem, std::string_view op) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) {
    if (problem.op.name() != op) return std::nullopt;
    return AnchorView{.op = problem.op, .inputs = problem.inputs.size(), .epilogue = "const float result = acc;\n"};
  }
  const auto body = body_of(*fused);
  if (!body || body->anchor->op.name() != op) return std::nullopt;
  AnchorView view{.op = body->anchor->op, .inputs = body->anchor->inputs.size()};
  const auto& inputs = fused->body->inputs();
  const Dims out = dims_of(problem.outputs[0]);
  std::vector<std::string> operands;
  for (ValueId v : body->pointwise->inputs) {
    if (v == body->anchor->outputs[0]) {
      operands.push_back("acc");
      continue;
    }
    const auto at = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), v) - inputs.begin());
    if (at >= problem.inputs.size()) return std::nullopt;
    operands.push_back(fmt::format("e{}[{}]", at, broadcast_index(dims_of(problem.inputs[at]), out, "index")));
  }
  for (size_t i = view.inputs; i < problem.inputs.size(); ++i)
    view.parameters += fmt::format(", const {}* e{}", element_type(problem.inputs[i].dtype), i);
  const auto& program = body->pointwise->op.as<Pointwise>()->program;
  view.epilogue = statements(program, operands) + fmt::format("  const float result = v{};\n", program.code.size() - 1);
  return view;
}

std::string refuse_epilogue(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return {};
  const auto body = body_of(*fused);
  return body ? refuse_program(body->pointwise->op.as<Pointwise>()->program) : "several nodes are fused";
}

}  // namespace hone::cuda
