#pragma once

#include "backends/lower.h"
#include "tactics/tactic.h"

namespace hone {

// Microseconds that the fastest kernel of a problem takes; 0 where nothing is timed.
using TimeProblem = std::function<Result<double>(const Problem&)>;

// A network for a GPU whose residual blocks, of three convolutions and what is added to them, are each one node where
// one kernel of the machine's GPU computes it in less time than those of its layers take together.
struct JoinedBlocks {
  Graph graph;
  int blocks = 0;          // that are one node
  Refusals apart, joined;  // why the nodes of the network as it was, and of `graph`, are as they are
};
Result<JoinedBlocks> join_blocks(const Graph& graph, const Machine& machine, const TimeProblem& time_us);

// The problems that join_blocks asks the time of, so that their kernels can be compiled ahead.
std::vector<Problem> block_problems(const Graph& graph, const Machine& machine);

}  // namespace hone
