#include "backends/problem.h"

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

}  // namespace hone
