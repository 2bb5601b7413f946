#include "backends/problem.h"

#include <algorithm>

namespace hone {

Problem problem_of(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  Problem problem{.op = node.op};
  for (ValueId v : node.inputs) {
    problem.inputs.push_back(graph.type(v));
    problem.constants.push_back(graph.value(v).constant);
  }
  for (ValueId v : node.outputs) problem.outputs.push_back(graph.type(v));
  return problem;
}

bool has_kernel(const Problem& problem, const Machine& machine) {
  const Backend backend = machine.cuda_arch.empty() ? Backend::cpu : Backend::cuda;
  return std::ranges::any_of(tactic_table(), [&](const Tactic& t) {
    return t.backend == backend && t.name != "reference" && t.supports(problem, machine).empty();
  });
}

}  // namespace hone
