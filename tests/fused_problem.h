#pragma once

#include <gtest/gtest.h>

#include "passes/fuse/body.h"
#include "tactics/tactic.h"

namespace hone::testing {

// The nodes of a graph, the first with the one behind it as one step, as GPU fusion joins them.
inline Problem fused_problem(const std::string& text) {
  const auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  const auto order = graph->order();
  Problem problem{.op = graph->node(order[0]).op};
  std::vector<ValueId> inputs = graph->node(order[0]).inputs;
  if (order.size() > 1) {
    inputs.clear();
    problem.op = fused_op(*graph, order[0], order[1], inputs);
  }
  for (ValueId v : inputs) problem.inputs.push_back(graph->type(v));
  problem.outputs = {graph->type(graph->outputs()[0])};
  return problem;
}

}  // namespace hone::testing
