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

// Null nodes when several are fused.
Body body_of(const Fused& fused) {
  const auto order = fused.body->order();
  if (order.size() != 2 || fused.body->node(order[1]).op.as<Pointwise>() == nullptr) return {};
  return {&fused.body->node(order[0]), &fused.body->node(order[1])};
}

}  // namespace

std::optional<AnchorView> view_anchor(const Problem& problem, std::string_view op) {
  const auto* fused = problem.op.as<Fused>();
  const Body body = fused != nullptr ? body_of(*fused) : Body{};
  if (fused != nullptr && body.anchor == nullptr) return std::nullopt;
  AnchorView view{.op = fused ? body.anchor->op : problem.op, .inputs = fused ? body.anchor->inputs.size() : problem.inputs.size()};
  if (view.op.name() != op) return std::nullopt;
  if (!problem.is_static()) return view;

  const Dims out = dims_of(problem.outputs[0]);
  RunOperands operands;
  std::string terms = "const float result = acc;\n";
  if (view.inputs > 2 && has(problem, 2)) {
    view.parameters += fmt::format(", const {}* bias", element_type(problem.inputs[2].dtype));
    operands.loads += "  const auto bias_run = load_run<RUN>(bias + n);\n";
    terms = "acc += bias_run.v[j];\n    " + terms;
  }
  if (fused != nullptr) {
    const auto& inputs = fused->body->inputs();
    const auto& program = body.pointwise->op.as<Pointwise>()->program;
    if (!refuse_program(program).empty()) return view;
    std::vector<std::string> expressions;
    std::vector<bool> known(problem.inputs.size(), false);
    for (ValueId v : body.pointwise->inputs) {
      if (v == body.anchor->outputs[0]) {
        expressions.push_back("acc");
        continue;
      }
      const auto at = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), v) - inputs.begin());
      if (at < view.inputs || at >= problem.inputs.size()) return std::nullopt;
      const TensorType& type = problem.inputs[at];
      RunOperands again;
      expressions.push_back((known[at] ? again : operands).add(fmt::format("e{}", at), type.dtype, dims_of(type), out));
      known[at] = true;
    }
    for (size_t i = view.inputs; i < problem.inputs.size(); ++i)
      view.parameters += fmt::format(", const {}* e{}", element_type(problem.inputs[i].dtype), i);
    terms = terms.substr(0, terms.find("const float result")) + statements(program, expressions) + fmt::format("  const auto result = v{};\n", program.code.size() - 1);
  }
  view.store = fmt::format(R"cuda(
__device__ inline void store(PARAMETERS, i64 z, int m, int n, const float (&sums)[RUN]) {{
  const i64 index = (z * M + m) * N + n;
{1}  Run<{0}, RUN> results;
#pragma unroll
  for (int j = 0; j < RUN; ++j) {{
    float acc = sums[j];
    {2}    results.v[j] = ({0})result;
  }}
  *(Run<{0}, RUN>*)(y + index) = results;
}}
)cuda", element_type(problem.outputs[0].dtype), operands.loads, terms);
  return view;
}

std::string refuse_epilogue(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return {};
  const Body body = body_of(*fused);
  return body.pointwise != nullptr ? refuse_program(body.pointwise->op.as<Pointwise>()->program) : "several nodes are fused";
}

}  // namespace hone::cuda
