// Residual blocks as one kernel on the GPU that is here, against the reference and against their layers' own kernels.
// When they are joined is tested with given times, without a GPU (tests/cuda/blocks_test.cc, tests/enqueue).
// Skipped without one.
#include "backends/blocks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backends/gpu_fusion.h"
#include "backends/problem.h"
#include "bottleneck.h"
#include "compile/compile.h"
#include "gpu/candidate.h"
#include "passes/pipeline.h"
#include "runtime/context.h"

namespace hone {
namespace {

using testing::BlockCase;

// Few pixels, as the reference takes its time; the images of one or two make several tiles for each of a GPU's
// multiprocessors.
const BlockCase kSmall[] = {
    {.n = 1, .h = 19, .w = 31},
    {.n = 3, .h = 9, .w = 11},
    {.n = 1, .h = 8, .w = 14},
    {.n = 700, .h = 1, .w = 2, .channels = 128},
    {.n = 5, .h = 3, .w = 43, .type = DType::bf16},
    {.n = 2, .h = 17, .w = 15, .activation = "silu:f32({})"},
    {.n = 1, .h = 30, .w = 29, .channels = 64, .shortcut = true},
    {.n = 900, .h = 1, .w = 1, .channels = 64, .out = 128, .shortcut = true},
    {.n = 3, .h = 20, .w = 9, .channels = 64, .type = DType::bf16, .shortcut = true},
    {.n = 1, .h = 12, .w = 15, .channels = 64, .shortcut = true, .shortcut_adds = true},
    {.n = 1, .h = 19, .w = 31, .type = DType::i8},
    {.n = 3, .h = 9, .w = 11, .type = DType::i8, .steps = true},
    {.n = 700, .h = 1, .w = 2, .channels = 128, .type = DType::i8},
    {.n = 900, .h = 1, .w = 1, .channels = 64, .type = DType::i8},
    {.n = 1, .h = 30, .w = 29, .channels = 64, .type = DType::i8, .shortcut = true},
    {.n = 1, .h = 15, .w = 14, .channels = 64, .out = 192, .type = DType::i8, .shortcut = true, .shortcut_adds = true}};

const BlockCase kLarge[] = {
    {.n = 32, .h = 56, .w = 56},
    {.n = 40, .h = 57, .w = 61, .type = DType::bf16},
    {.n = 32, .h = 56, .w = 56, .channels = 64, .shortcut = true},
    {.n = 33, .h = 55, .w = 71, .channels = 64, .shortcut = true},
    {.n = 64, .h = 56, .w = 56, .type = DType::i8},
    {.n = 40, .h = 57, .w = 61, .type = DType::i8, .steps = true},
    {.n = 32, .h = 56, .w = 56, .channels = 64, .type = DType::i8, .shortcut = true, .shortcut_adds = true},
    {.n = 33, .h = 55, .w = 71, .channels = 64, .type = DType::i8, .shortcut = true}};

Tensor image_of(const BlockCase& c, unsigned seed) {
  return testing::random_of(c.type, {c.n, c.h, c.w, c.channels}, seed, c.type == DType::i8 ? 127 : 1);
}

class GpuBlocks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
    machine_ = {.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
    if (machine_.cuda_arch != "sm_90") GTEST_SKIP() << machine_.cuda_arch;
  }
  Graph fused(const BlockCase& c) {
    Graph graph = testing::residual_block(c);
    EXPECT_TRUE(fuse(graph).ok());
    fuse_for_gpu(graph, machine_);
    return graph;
  }
  Graph joined(const Graph& graph) {
    const auto blocks = join_blocks(graph, machine_, [&](const Problem& problem) -> Result<double> {
      return find_tactic("cuda.bottleneck_wgmma")->supports(problem, machine_).empty() ? 1.0 : 10.0;
    });
    EXPECT_TRUE(blocks.ok());
    EXPECT_EQ(blocks->graph.order().size(), 1u);
    return blocks->graph;
  }
  void expect_small_ones_right(bool bytes);
  // What a node makes of `inputs`, some of which are constants of the graph.
  Tensors values_of(const Graph& graph, NodeId id, const std::map<ValueId, Tensor>& known) {
    Tensors values;
    for (ValueId v : graph.node(id).inputs)
      values.push_back(graph.value(v).is_constant() ? graph.value(v).constant : known.at(v));
    return values;
  }

  Machine machine_;
  cpu::ThreadPool pool_{1};
};

Tensor results_of(EngineData engine, const Tensor& x) {
  const auto loaded = LoadedEngine::make(std::move(engine));
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  ExecutionContext context(*loaded);
  EXPECT_TRUE(context.bind_input("x", x).ok());
  for (int run = 0; run < 3; ++run) EXPECT_TRUE(context.run().ok());
  return *context.output("y");
}

// What the reference makes of it; of integers a CPU's engine, which rounds each step to a float as a GPU's does, where
// the reference rounds none.
Tensor right_results(const BlockCase& c, const Tensor& x) {
  const Graph graph = testing::residual_block(c);
  if (c.type != DType::i8) return (*interpret(graph, Tensors{x}))[0];
  auto engine = compile_graph(graph, {.target = "cpu", .tune = false});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return results_of(std::move(*engine), x);
}

std::string text_of(const BlockCase& c) {
  return fmt::format("{} x {} x {} x {}{} {}", c.n, c.h, c.w, c.channels, c.shortcut ? " with a shortcut" : "",
                     name(c.type));
}

// The reference rounds the sums of the last layer before it adds what is added to them, and in another order of sums
// some results between layers are rounded to their other neighbour: each is half a unit of values that hardly exceed 4.
// Integers are the same everywhere.
void GpuBlocks::expect_small_ones_right(bool bytes) {
  for (const BlockCase& c : kSmall) {
    if ((c.type == DType::i8) != bytes) continue;
    const Graph apart = fused(c), graph = joined(apart);
    const Problem problem = problem_of(graph, graph.order()[0]);
    const Tensor x = image_of(c, 77);
    const Tensor want = right_results(c, x);
    auto box = GpuSandbox::create(problem, 0, values_of(graph, graph.order()[0], {{graph.inputs()[0], x}}));
    ASSERT_TRUE(box.ok()) << box.status().message();
    const double unit = c.type == DType::i8 ? 0 : c.type == DType::f16 ? 0x1p-10 : 0x1p-7;
    for (Candidate& candidate : candidates_of(problem, machine_)) {
      const auto got = candidate.run(problem, machine_, **box, pool_);
      ASSERT_TRUE(got.ok()) << got.status().message();
      int64_t wrong = 0, first = -1;
      double largest = 0;
      for (int64_t i = 0; i < want.count(); ++i) {
        const double right = want.at(i);
        largest = std::max(largest, std::fabs(right));
        const bool off = !(std::fabs((*got)[0].at(i) - right) <= unit * (std::fabs(right) + 4));
        if (off && wrong++ == 0) first = i;
      }
      EXPECT_EQ(wrong, 0) << text_of(c) << ", variant " << candidate.variant << ", first at " << first << ": "
                          << (first < 0 ? 0 : (*got)[0].at(first)) << ", not " << (first < 0 ? 0 : want.at(first));
      EXPECT_GT(largest, 0.5);
    }
  }
}

TEST_F(GpuBlocks, SmallOnesOfFloatsAreRight) { expect_small_ones_right(false); }
TEST_F(GpuBlocks, SmallOnesOfBytesAreRight) { expect_small_ones_right(true); }

TEST_F(GpuBlocks, GiveTheBitsOfTheirLayers) {
  std::vector<BlockCase> cases(std::begin(kSmall), std::end(kSmall));
  cases.insert(cases.end(), std::begin(kLarge), std::end(kLarge));
  for (const BlockCase& c : cases) {
    const Graph apart = fused(c), graph = joined(apart);
    const Problem problem = problem_of(graph, graph.order()[0]);
    const Tensor x = image_of(c, 78);
    std::map<ValueId, Tensor> known{{apart.inputs()[0], x}};
    for (NodeId id : apart.order()) {
      const Problem layer = problem_of(apart, id);
      auto box = GpuSandbox::create(layer, 0, values_of(apart, id, known));
      ASSERT_TRUE(box.ok()) << box.status().message();
      const Tactic& tactic = *find_tactic("cuda.conv_wgmma");
      ASSERT_EQ(tactic.supports(layer, machine_), "");
      Candidate candidate{tactic, 0, std::async(std::launch::async, tactic.prepare, layer, 0, machine_)};
      const auto got = candidate.run(layer, machine_, **box, pool_);
      ASSERT_TRUE(got.ok()) << got.status().message();
      known[apart.node(id).outputs[0]] = (*got)[0];
    }
    const Tensor& want = known.at(apart.outputs()[0]);
    auto box = GpuSandbox::create(problem, 0, values_of(graph, graph.order()[0], {{graph.inputs()[0], x}}));
    ASSERT_TRUE(box.ok()) << box.status().message();
    for (Candidate& candidate : candidates_of(problem, machine_)) {
      const auto got = candidate.run(problem, machine_, **box, pool_);
      ASSERT_TRUE(got.ok()) << got.status().message();
      int64_t other = 0;
      for (int64_t i = 0; i < want.count(); ++i) other += !((*got)[0].at(i) == want.at(i));
      EXPECT_EQ(other, 0) << "of " << want.count() << ": " << text_of(c) << ", variant " << candidate.variant;
    }
  }
}

// Whatever the times are on this GPU. They are printed: bench/results has those of some GPUs.
TEST_F(GpuBlocks, AreJoinedAsTheirTimesSay) {
  for (const BlockCase& kind : {BlockCase{},
                                {.channels = 64, .shortcut = true},
                                {.type = DType::i8},
                                {.channels = 64, .type = DType::i8, .shortcut = true, .shortcut_adds = true}})
    for (const int64_t batch : {1, 8, 32, 128}) {
      BlockCase c = kind;
      c.n = batch, c.h = 56, c.w = 56;
      Selector selector({.machine = machine_, .deterministic = true});
      double block_us = 0, layers_us = 0;
      const auto blocks = join_blocks(fused(c), machine_, [&](const Problem& problem) -> Result<double> {
        HONE_TRY(const Choice choice, selector.choose(problem));
        (choice.tactic->name == "cuda.bottleneck_wgmma" ? block_us : layers_us) += choice.time_us;
        return choice.time_us;
      });
      ASSERT_TRUE(blocks.ok()) << blocks.status().message();
      std::printf("%s: %.1f us, its layers %.1f us\n", text_of(c).c_str(), block_us, layers_us);
      EXPECT_GT(block_us, 0) << text_of(c);
      EXPECT_GT(layers_us, 0) << text_of(c);
      EXPECT_EQ(blocks->blocks.size(), block_us < layers_us ? 1u : 0u) << text_of(c);
    }
}

// Within the same error, of engines: one that has the block, one that is tuned, which has what is faster here, and one
// that is not, which has the layers.
TEST_F(GpuBlocks, RunInEngines) {
  const BlockCase c{.n = 8, .h = 56, .w = 56};
  const Tensor x = testing::random_of(c.type, {c.n, c.h, c.w, c.channels}, 79);
  Selector untimed({.machine = machine_, .tune = false});
  auto block = lower(joined(fused(c)), untimed, machine_);
  ASSERT_TRUE(block.ok()) << block.status().message();
  block->program.target = "cuda";
  ASSERT_EQ(block->program.steps.size(), 1u);
  EXPECT_EQ(block->program.steps[0].tactic, "cuda.bottleneck_wgmma");
  std::vector<Tensor> results{results_of(std::move(*block), x)};
  for (const bool tune : {true, false}) {
    auto engine = compile_graph(testing::residual_block(c), {.target = "cuda", .tune = tune});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    if (!tune) {
      EXPECT_EQ(engine->program.steps.size(), 3u);
    }
    results.push_back(results_of(std::move(*engine), x));
  }
  const Tensor& want = results.back();
  for (const Tensor& got : results) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < want.count(); ++i)
      wrong += !(std::fabs(got.at(i) - want.at(i)) <= 0x1p-10 * (std::fabs(want.at(i)) + 4));
    EXPECT_EQ(wrong, 0) << "of " << want.count() << ", engine " << &got - results.data();
  }
}

}  // namespace
}  // namespace hone
