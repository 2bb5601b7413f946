#include "backends/blocks.h"

#include <algorithm>

#include "backends/join.h"
#include "backends/problem.h"
#include "cuda/device.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "passes/rewrite.h"
#include "tactics/common.h"

namespace hone {
namespace {

using namespace rewrite;

struct Block {
  std::vector<NodeId> layers;  // in order
  std::vector<ValueId> inputs;
  Problem problem;
};

bool is_convolution(const Graph& graph, NodeId id) {
  if (id == NodeId::none) return false;
  const auto* fused = op_of<Fused>(graph, id);
  return fused == nullptr ? op_of<Conv>(graph, id) != nullptr
                          : op_of<Conv>(*fused->body, fused->body->order().front()) != nullptr;
}

// The convolution that computes `v` for one reader alone.
NodeId layer_before(const Graph& graph, ValueId v) {
  const NodeId id = sole_producer(graph, v);
  return is_convolution(graph, id) ? id : NodeId::none;
}

// The layers as nodes of one op. Unlike the other parts of a fused op, each stays one that a kernel could compute.
Block block_of(const Graph& graph, std::vector<NodeId> layers) {
  Block block{.layers = std::move(layers)};
  auto body = std::make_shared<Graph>();
  std::map<ValueId, ValueId> inner{{ValueId::none, ValueId::none}};
  for (NodeId id : block.layers) {
    const Node& node = graph.node(id);
    std::vector<ValueId> operands;
    for (ValueId v : node.inputs) {
      if (!inner.contains(v)) {
        inner[v] = body->add_input({}, graph.type(v));
        block.inputs.push_back(v);
        block.problem.inputs.push_back(graph.type(v));
        block.problem.constants.push_back(graph.value(v).constant);
      }
      operands.push_back(inner.at(v));
    }
    const ValueId out = output(graph, id);
    inner[out] = body->node(body->add_node_typed(node.op, operands, {graph.type(out)})).outputs[0];
  }
  const ValueId result = output(graph, block.layers.back());
  body->add_output(inner.at(result), "y");
  block.problem.op = Fused{std::move(body)};
  block.problem.outputs = {graph.type(result)};
  return block;
}

// Three convolutions in a row, the last of which computes `v`.
struct Chain {
  NodeId first, second, last;
};
std::optional<Chain> chain_before(const Graph& graph, NodeId last) {
  const NodeId second = last == NodeId::none ? last : layer_before(graph, input(graph, last, 0));
  const NodeId first = second == NodeId::none ? second : layer_before(graph, input(graph, second, 0));
  if (first == NodeId::none) return std::nullopt;
  return Chain{first, second, last};
}

// Three convolutions in a row, to the sums of which their input, or another convolution of it, is added; or they to
// that one's sums.
std::optional<Block> residual_block_that_ends_in(const Graph& graph, NodeId end) {
  if (!is_convolution(graph, end)) return std::nullopt;
  const auto chain = chain_before(graph, end);
  for (const ValueId added : graph.node(end).inputs) {
    if (added == ValueId::none || graph.value(added).is_constant()) continue;
    const NodeId other = layer_before(graph, added);
    if (chain) {
      const ValueId x = input(graph, chain->first, 0);
      if (added == x) return block_of(graph, {chain->first, chain->second, end});
      if (other == NodeId::none || other == chain->second || input(graph, other, 0) != x) continue;
      return block_of(graph, {chain->first, chain->second, other, end});
    }
    const auto added_chain = chain_before(graph, other);
    if (!added_chain || input(graph, added_chain->first, 0) != input(graph, end, 0)) continue;
    return block_of(graph, {added_chain->first, added_chain->second, other, end});
  }
  return std::nullopt;
}

// The mean of an image's pixels, two convolutions of it, and what scales the image by their result.
std::optional<Block> squeeze_excite_that_ends_in(const Graph& graph, NodeId end) {
  if (op_of<Pointwise>(graph, end) == nullptr) return std::nullopt;
  const auto& inputs = graph.node(end).inputs;
  for (const ValueId gate : inputs) {
    const NodeId second = layer_before(graph, gate);
    const NodeId first = second == NodeId::none ? second : layer_before(graph, input(graph, second, 0));
    const NodeId mean = first == NodeId::none ? first : sole_producer(graph, input(graph, first, 0));
    if (mean == NodeId::none || op_of<Reduce>(graph, mean) == nullptr) continue;
    if (std::ranges::count(inputs, input(graph, mean, 0)) == 1) return block_of(graph, {mean, first, second, end});
  }
  return std::nullopt;
}

std::optional<Block> block_that_ends_in(const Graph& graph, NodeId end) {
  const auto residual = residual_block_that_ends_in(graph, end);
  return residual ? residual : squeeze_excite_that_ends_in(graph, end);
}

// The GPU's tactics that take such a problem, each with why it refuses this one, or an empty reason.
std::vector<std::pair<std::string, std::string>> answers(const Problem& problem, const Machine& machine) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Tactic& tactic : tactic_table()) {
    if (tactic.backend != Backend::cuda) continue;
    if (std::string reason = tactic.supports(problem, machine); reason != kAnotherOp)
      all.emplace_back(tactic.name, std::move(reason));
  }
  return all;
}

bool is_taken(const std::pair<std::string, std::string>& answer) { return answer.second.empty(); }

// Joins one block where that is faster.
Status decide(JoinedBlocks& blocks, const Block& block, const Machine& machine, const TimeProblem& time_us) {
  Graph& graph = blocks.graph;
  const NodeId last = block.layers.back();
  const auto known = answers(block.problem, machine);
  const auto taken = std::ranges::find_if(known, is_taken);
  if (taken == known.end()) {
    if (!known.empty()) blocks.refused[last] = known;
    return {};
  }
  const auto stay = [&](std::string reason) {
    blocks.refused[last].emplace_back(taken->first, std::move(reason));
    return Status();
  };
  // 0 where one of them is not timed.
  const auto time_all = [&](const std::vector<Problem>& problems) -> Result<double> {
    double sum = 0;
    for (const Problem& problem : problems) {
      HONE_TRY(const double us, time_us(problem));
      if (us == 0) return 0.0;
      sum += us;
    }
    return sum;
  };
  std::vector<Problem> layers;
  for (NodeId id : block.layers) layers.push_back(problem_of(graph, id));
  const auto joined_us = time_all({block.problem});
  const auto apart_us = joined_us.ok() && *joined_us > 0 ? time_all(layers) : joined_us;
  for (const auto* us : {&joined_us, &apart_us}) {
    if (us->ok()) continue;
    if (us->status().code() == Code::cancelled || cuda::kernel_has_faulted()) return us->status();
    return stay("failed: " + us->status().message());
  }
  if (*joined_us == 0 || *apart_us == 0) return stay("not timed");
  if (*joined_us >= *apart_us)
    return stay(fmt::format("slower: {:.1f} us for the block, {:.1f} us for its layers", *joined_us, *apart_us));
  std::vector<std::string> sources;
  for (NodeId id : block.layers)
    sources.insert(sources.end(), graph.node(id).sources.begin(), graph.node(id).sources.end());
  HONE_TRY(const NodeId made, graph.add_node(block.problem.op, block.inputs, 1, std::move(sources)));
  blocks.blocks.push_back({last, made, taken->first, *joined_us, *apart_us});
  replace(graph, output(graph, last), output(graph, made));
  return {};
}

}  // namespace

Refusals JoinedBlocks::when_joined() const {
  Refusals all = refused;
  for (const Block& block : blocks)
    all[block.joined].emplace_back("its layers' own kernels",
                                   fmt::format("slower: {:.1f} us together", block.layers_us));
  return all;
}

Refusals JoinedBlocks::when_apart(const std::string& reason) const {
  Refusals all = refused;
  for (const Block& block : blocks)
    all[block.last].emplace_back(
        block.tactic, fmt::format("{}, though the block takes {:.1f} us and its layers {:.1f} us", reason, block.us,
                                  block.layers_us));
  return all;
}

Result<JoinedBlocks> join_blocks(const Graph& graph, const Machine& machine, const TimeProblem& time_us) {
  JoinedBlocks blocks{.graph = graph, .blocks = {}, .refused = {}};
  for (NodeId id : graph.order())
    if (const auto block = block_that_ends_in(blocks.graph, id)) HONE_CHECK(decide(blocks, *block, machine, time_us));
  return blocks;
}

std::vector<Problem> block_problems(const Graph& graph, const Machine& machine) {
  std::vector<Problem> problems;
  for (NodeId id : graph.order()) {
    const auto block = block_that_ends_in(graph, id);
    if (!block || std::ranges::none_of(answers(block->problem, machine), is_taken)) continue;
    problems.push_back(block->problem);
    for (NodeId layer : block->layers) problems.push_back(problem_of(graph, layer));
  }
  return problems;
}

}  // namespace hone
