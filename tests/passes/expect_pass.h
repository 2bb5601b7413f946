#pragma once

#include <gtest/gtest.h>

#include "passes/passes.h"

namespace hone::testing {

inline Graph parse(std::string_view text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message() << "\n" << text;
  return graph.ok() ? std::move(*graph) : Graph();
}

inline int run_pass(std::string_view name, Graph& graph) {
  for (const Pass& pass : all_passes()) {
    if (pass.name != name) continue;
    const auto changes = pass.run(graph, 1000);
    EXPECT_TRUE(changes.ok()) << changes.status().message();
    graph.remove_dead();
    const Status valid = verify(graph);
    EXPECT_TRUE(valid.ok()) << valid.message() << "\n" << to_text(graph);
    return changes.ok() ? *changes : -1;
  }
  ADD_FAILURE() << "there is no pass '" << name << "'";
  return -1;
}

// The pass, run until it has nothing left to do, turns `before` into `after`; and it leaves `after` alone.
inline void expect_pass(std::string_view name, std::string_view before, std::string_view after) {
  Graph graph = parse(before), expected = parse(after);
  for (int i = 0; i < 20 && run_pass(name, graph) > 0; ++i) {
  }
  EXPECT_TRUE(equal(graph, expected)) << name << " made\n" << to_text(graph) << "expected\n" << to_text(expected);
  EXPECT_EQ(run_pass(name, expected), 0) << name << " changes its own result to\n" << to_text(expected);
}

// The pass does not touch the graph.
inline void expect_no_pass(std::string_view name, std::string_view text) {
  Graph graph = parse(text);
  const Graph before = graph;
  EXPECT_EQ(run_pass(name, graph), 0) << name << " made\n" << to_text(graph);
  EXPECT_TRUE(equal(graph, before)) << to_text(graph);
}

}  // namespace hone::testing
