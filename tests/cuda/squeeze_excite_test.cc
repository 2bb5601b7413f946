// Squeeze-and-excite blocks as one kernel, for a GPU that need not be here: which are found, what they compute.
#include <gtest/gtest.h>

#include "backends/agreement.h"
#include "backends/blocks.h"
#include "backends/gpu_fusion.h"
#include "cuda/nvrtc.h"
#include "passes/pipeline.h"
#include "squeeze_excite.h"

namespace hone {
namespace {

using testing::SqueezeExciteCase;

const Machine kHopper{.cuda_arch = "sm_90"};

const Tactic& tactic() { return *find_tactic("cuda.squeeze_excite"); }
const Tactic& plain() { return *find_tactic("cuda.squeeze_excite_plain"); }

Graph fused_graph(const SqueezeExciteCase& c, const Machine& machine = kHopper) {
  Graph graph = testing::squeeze_excite(c);
  EXPECT_TRUE(fuse(graph).ok());
  fuse_for_gpu(graph, machine);
  return graph;
}

// As if a block took so long, and each of its layers 10 us.
JoinedBlocks joined(const Graph& graph, double block_us = 1, const Machine& machine = kHopper) {
  auto blocks = join_blocks(graph, machine, [&](const Problem& problem) -> Result<double> {
    return plain().supports(problem, machine).empty() ? block_us : 10;
  });
  EXPECT_TRUE(blocks.ok()) << blocks.status().message();
  return std::move(*blocks);
}

TEST(SqueezeExcite, IsOneNodeWhereItsKernelIsFaster) {
  for (const SqueezeExciteCase& c : {SqueezeExciteCase{},
                                     {.type = DType::bf16, .activation = "relu:f32({})"},
                                     {.type = DType::f32, .gate_first = true}}) {
    const Graph graph = fused_graph(c);
    ASSERT_EQ(graph.order().size(), 4u);
    EXPECT_EQ(block_problems(graph, kHopper).size(), 5u);
    const JoinedBlocks faster = joined(graph, 39), slower = joined(graph, 40);
    EXPECT_TRUE(equal(slower.graph, graph));
    EXPECT_EQ(slower.refused.at(graph.order().back()).at(0).second,
              "slower: 40.0 us for the block, 40.0 us for its layers");
    ASSERT_EQ(faster.graph.order().size(), 1u);
    EXPECT_TRUE(verify(faster.graph).ok());
    EXPECT_EQ(faster.graph.node(faster.graph.order()[0]).sources.front(), "mean");
    const Tensors inputs{testing::random_of(c.type, {c.n, c.h, c.w, c.channels}, 9)};
    EXPECT_EQ(*interpret(graph, inputs), *interpret(faster.graph, inputs));
  }
}

// By none of the tactics that take other fused ops. The plain kernel is its witness, and all there is without clusters.
TEST(SqueezeExcite, IsDoneByItsKernelsAlone) {
  const Problem problem = block_problems(fused_graph({}), kHopper).at(0);
  for (const Tactic& other : tactic_table())
    EXPECT_EQ(other.supports(problem, kHopper).empty(),
              &other == &tactic() || &other == &plain() || other.name == "reference")
        << other.name;
  EXPECT_EQ(witness_of(problem, kHopper), &plain());
  const Machine ampere{.cuda_arch = "sm_86"};
  EXPECT_EQ(tactic().supports(problem, ampere), "it needs clusters of blocks, of compute capability 9.0");
  EXPECT_EQ(joined(fused_graph({}, ampere), 1, ampere).blocks.at(0).tactic, plain().name);
}

std::string refusal(const SqueezeExciteCase& c, const Machine& machine = kHopper) {
  const JoinedBlocks blocks = joined(fused_graph(c, machine), 1, machine);
  EXPECT_EQ(blocks.blocks.size(), 0u);
  std::string reason;
  for (const auto& [id, refused] : blocks.refused)
    for (const auto& [name, why] : refused) reason += why;
  return reason;
}

TEST(SqueezeExcite, OtherShapesAreRefusedWithAReason) {
  const auto twice = [](const std::string& reason) { return reason + reason; };  // by both kernels
  EXPECT_EQ(refusal({.channels = 12}), twice("a pixel's channels are not a multiple of 16 bytes"));
  EXPECT_EQ(refusal({.channels = 2056}), twice("more than 2048 channels, or 512 between the layers"));
  EXPECT_EQ(refusal({.hidden = 513}), twice("more than 2048 channels, or 512 between the layers"));
  EXPECT_EQ(refusal({.filter = 3}), twice("a layer of other than 1x1"));
  EXPECT_EQ(refusal({.kind = "max"}), "");
  EXPECT_EQ(refusal({.read_again = true}), "");
}

TEST(SqueezeExcite, EveryVariantCompiles) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  for (const SqueezeExciteCase& c : {SqueezeExciteCase{},
                                     {.channels = 2048, .hidden = 512},
                                     {.channels = 8, .hidden = 1, .type = DType::bf16},
                                     {.channels = 2048, .hidden = 512, .type = DType::f32}}) {
    const Problem problem = block_problems(fused_graph(c), kHopper).at(0);
    EXPECT_EQ(tactic().variants(problem, kHopper), 3);
    for (const char* arch : {"sm_80", "sm_90"}) EXPECT_TRUE(plain().prepare(problem, 0, {.cuda_arch = arch}).ok());
    for (int v = 0; v < 3; ++v) {
      const auto prepared = tactic().prepare(problem, v, kHopper);
      ASSERT_TRUE(prepared.ok()) << prepared.status().message();
      EXPECT_TRUE(tactic().make(problem, prepared->packed, v, kHopper).ok());
    }
  }
}

}  // namespace
}  // namespace hone
