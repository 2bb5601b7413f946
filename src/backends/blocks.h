#pragma once

#include "backends/lower.h"
#include "tactics/tactic.h"

namespace hone {

// Microseconds that the fastest kernel of a problem takes; 0 where nothing is timed.
using TimeProblem = std::function<Result<double>(const Problem&)>;

// A network for a GPU whose residual blocks (three convolutions and what is added to them) and squeeze-and-excite
// blocks (an image's mean, two convolutions of it, and what scales the image by their result) are each one node where
// one kernel of the machine's GPU computes it in less time than those of its layers take together.
struct JoinedBlocks {
  struct Block {
    NodeId last, joined;  // of its layers, in the network as it was; the node in `graph`
    std::string tactic;
    double us = 0, layers_us = 0;
  };
  Graph graph;
  std::vector<Block> blocks;  // that are one node
  Refusals refused;           // why others are not: by their last layers, in either graph

  // Why the nodes of `graph` are as they are.
  Refusals when_joined() const;
  // Why those of the network as it was are, where it is kept because of `reason`.
  Refusals when_apart(const std::string& reason) const;
};
Result<JoinedBlocks> join_blocks(const Graph& graph, const Machine& machine, const TimeProblem& time_us);

// The problems that join_blocks asks the time of, so that their kernels can be compiled ahead.
std::vector<Problem> block_problems(const Graph& graph, const Machine& machine);

}  // namespace hone
