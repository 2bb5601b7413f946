// Residual blocks as one kernel, for a GPU that need not be here: which are found, when they are joined, what is said.
#include "backends/blocks.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "backends/gpu_fusion.h"
#include "backends/problem.h"
#include "bottleneck.h"
#include "compile/compile.h"
#include "cuda/nvrtc.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

using testing::BlockCase;

const Machine kHopper{.cuda_arch = "sm_90"};

Graph fused_graph(const BlockCase& c, const Machine& machine = kHopper) {
  Graph graph = testing::residual_block(c);
  EXPECT_TRUE(fuse(graph).ok());
  fuse_for_gpu(graph, machine);
  return graph;
}

bool is_block(const Problem& problem) {
  return !find_tactic("cuda.bottleneck_wgmma")->supports(problem, kHopper).starts_with("another op");
}

// As if a block took so long, and each of its layers 10 us.
TimeProblem taking(double block_us) {
  return [=](const Problem& problem) -> Result<double> { return is_block(problem) ? block_us : 10.0; };
}

TEST(Blocks, AreJoinedWhereTheirKernelIsFaster) {
  for (const bool shortcut : {false, true}) {
    const Graph graph = fused_graph({.channels = shortcut ? 64 : 256, .shortcut = shortcut});
    const int layers = shortcut ? 4 : 3;
    ASSERT_EQ(graph.order().size(), static_cast<size_t>(layers));
    EXPECT_EQ(block_problems(graph, kHopper).size(), static_cast<size_t>(layers + 1));
    const auto faster = join_blocks(graph, kHopper, taking(10.0 * layers - 1));
    ASSERT_TRUE(faster.ok()) << faster.status().message();
    EXPECT_EQ(faster->blocks.size(), 1u);
    ASSERT_EQ(faster->graph.order().size(), 1u);
    EXPECT_TRUE(verify(faster->graph).ok());
    const NodeId joined = faster->graph.order()[0];
    EXPECT_EQ(faster->graph.node(joined).sources.size(), graph.order().size() * 2 - (shortcut ? 1 : 0));
    EXPECT_EQ(faster->when_joined().at(joined)[0].second, fmt::format("slower: {}.0 us together", 10 * layers));
    const auto slower = join_blocks(graph, kHopper, taking(10.0 * layers));
    ASSERT_TRUE(slower.ok());
    EXPECT_EQ(slower->blocks.size(), 0u);
    EXPECT_TRUE(equal(slower->graph, graph));
    EXPECT_EQ(slower->when_joined(), slower->when_apart("slow"));
    EXPECT_EQ(slower->refused.at(graph.order().back()),
              (std::vector<std::pair<std::string, std::string>>{
                  {"cuda.bottleneck_wgmma",
                   fmt::format("slower: {0}.0 us for the block, {0}.0 us for its layers", 10 * layers)}}));
  }
}

TEST(Blocks, ComputeWhatTheirLayersDo) {
  for (const BlockCase& c :
       {BlockCase{.channels = 128},
        {.channels = 64, .out = 128, .shortcut = true},
        {.channels = 64, .out = 128, .shortcut = true, .shortcut_adds = true},
        {.channels = 128, .type = DType::i8},
        {.channels = 128, .type = DType::i8, .steps = true},
        {.channels = 64, .out = 128, .type = DType::i8, .shortcut = true},
        {.channels = 64, .out = 128, .type = DType::i8, .shortcut = true, .shortcut_adds = true}}) {
    const Graph graph = fused_graph(c);
    const auto joined = join_blocks(graph, kHopper, taking(1));
    ASSERT_TRUE(joined.ok());
    ASSERT_EQ(joined->graph.order().size(), 1u);
    const Tensors inputs{testing::random_of(c.type, {c.n, c.h, c.w, c.channels}, 9, c.type == DType::i8 ? 127 : 1)};
    const auto want = interpret(graph, inputs), got = interpret(joined->graph, inputs);
    ASSERT_TRUE(want.ok() && got.ok());
    EXPECT_EQ(*want, *got);
    const auto again = graph_from_text(to_text(joined->graph));
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_TRUE(equal(*again, joined->graph));
  }
}

TEST(Blocks, ThatFailOrAreNotTimedStayApart) {
  const Graph graph = fused_graph({});
  const auto reason = [&](const TimeProblem& time_us) {
    const auto blocks = join_blocks(graph, kHopper, time_us);
    EXPECT_TRUE(blocks.ok());
    EXPECT_EQ(blocks->blocks.size(), 0u);
    return blocks->refused.at(graph.order().back())[0].second;
  };
  EXPECT_EQ(reason(taking(0)), "not timed");
  EXPECT_EQ(reason([](const Problem&) -> Result<double> { return unsupported("no registers"); }),
            "failed: no registers");
  const auto cancelled =
      join_blocks(graph, kHopper, [](const Problem&) -> Result<double> { return Status(Code::cancelled, "stop"); });
  EXPECT_EQ(cancelled.status().code(), Code::cancelled);
}

TEST(Blocks, EveryTileCompiles) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  const Tactic& tactic = *find_tactic("cuda.bottleneck_wgmma");
  for (const BlockCase& c : {BlockCase{},
                             {.type = DType::bf16, .activation = "silu:f32({})"},
                             {.channels = 64, .shortcut = true},
                             {.channels = 128, .activation = "neg:f32({})"},
                             {.type = DType::i8},
                             {.type = DType::i8, .steps = true},
                             {.channels = 64, .type = DType::i8, .shortcut = true},
                             {.channels = 64, .type = DType::i8, .shortcut = true, .shortcut_adds = true}}) {
    const auto problems = block_problems(fused_graph(c), kHopper);
    ASSERT_FALSE(problems.empty());
    const int count = tactic.variants(problems[0], kHopper);
    EXPECT_EQ(count, c.type == DType::i8 ? 2 : c.shortcut ? 1 : c.channels == 128 ? 2 : 3);
    const bool plain = c.type != DType::bf16 && c.channels != 128;
    for (int v = 0; v < (plain ? count : 1); ++v) {
      const auto prepared = tactic.prepare(problems[0], v, kHopper);
      ASSERT_TRUE(prepared.ok()) << v << ": " << prepared.status().message();
      EXPECT_TRUE(tactic.make(problems[0], prepared->packed, v, kHopper).ok());
      EXPECT_EQ(prepared->drops[0], false);
    }
  }
}

TEST(Blocks, AreNotTimedForAGpuThatIsNotHere) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  const auto engine =
      compile_graph(testing::residual_block({}), {.target = "cuda", .cuda_arch = "sm_90", .tune = false});
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const std::vector<Step>& steps = engine->program.steps;
  ASSERT_EQ(steps.size(), 3u);
  const std::pair<std::string, std::string> untimed("cuda.bottleneck_wgmma", "not timed");
  for (const Step& step : steps)
    EXPECT_EQ(std::ranges::count(step.refused, untimed), &step == &steps.back() ? 1 : 0) << step.label;
}

// Why the block's kernel is not for it; "": none was found.
std::string refusal(const BlockCase& c, const Machine& machine = kHopper) {
  const Graph graph = fused_graph(c, machine);
  const auto blocks = join_blocks(graph, machine, taking(1));
  EXPECT_TRUE(blocks.ok());
  EXPECT_EQ(blocks->blocks.size(), 0u);
  EXPECT_TRUE(block_problems(graph, machine).empty());
  std::string reason;
  for (const auto& [id, refused] : blocks->refused)
    for (const auto& [tactic, why] : refused) reason += why;
  return reason;
}

TEST(Blocks, OtherShapesAreRefusedWithAReason) {
  const std::string filters = "filters other than 1x1, 3x3 and 1x1, steps other than 1, or results of another size";
  EXPECT_EQ(refusal({.channels = 64, .stride = 2, .shortcut = true}), filters);
  EXPECT_EQ(refusal({.filter = 5}), filters);
  EXPECT_EQ(refusal({.dilation = 2}), filters);
  EXPECT_EQ(refusal({.between = 128}), "other than 64 channels between its layers");
  EXPECT_EQ(refusal({.channels = 96}), "its channels are not a multiple of 64");
  EXPECT_EQ(refusal({.channels = 128, .shortcut = true}), "a shortcut of other than 64 channels");
  EXPECT_EQ(refusal({.channels = 1024}), "no tile of it fits in shared memory and registers");
  EXPECT_EQ(refusal({.type = DType::f32}), "not 16-bit floats or i8 throughout");
  EXPECT_EQ(refusal({.groups = 4}), "grouped");
  EXPECT_EQ(refusal({}, {.cuda_arch = "sm_80"}), "sm_80 is not sm_90");
  EXPECT_EQ(refusal({}, {.cuda_arch = "sm_120"}), "sm_120 is not sm_90");
}

TEST(Blocks, ValuesThatOthersReadAreComputed) {
  for (const int output : {1, 2}) {
    EXPECT_EQ(refusal({.output = output}), "") << output;
    EXPECT_EQ(refusal({.read_again = output}), "") << output;
  }
  EXPECT_EQ(refusal({.residual = false}), "");
  EXPECT_EQ(refusal({.other_residual = true}), "");
}

}  // namespace
}  // namespace hone
