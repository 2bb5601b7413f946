// cuBLASLt's products with every epilogue that is given to it, on the GPU that is here. Skipped without one.
#include "cuda/cublaslt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backends/gpu_timing.h"
#include "backends/lower.h"
#include "fused_problem.h"
#include "gpu/candidate.h"
#include "gpu/library.h"
#include "library_step.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using GpuLibrary = WithLibrary<::testing::TestWithParam<DType>, cuda::cublaslt_version>;
using GpuLibraryEngine = WithLibrary<::testing::Test, cuda::cublaslt_version>;

// A product of [2][33][64] by [2][64][40], or of [66][64] by [64][40] when it has a bias.
struct Epilogue {
  bool bias, residual;
  std::string activation;
};

Problem problem_of(DType type, const Epilogue& e) {
  const std::string_view t = name(type);
  const std::string batch = e.bias ? "" : "2,";
  const std::string rows = e.bias ? "66" : "2,33";
  const bool plain = !e.residual && e.activation.empty();
  return testing::fused_problem(fmt::format(
      R"hone(graph {{
    input %1 "a" : {0}[{1},64]
    input %2 "b" : {0}[{2}64,40]
    input %3 "bias" : {0}[40]
    input %4 "r" : {0}[{1},40]
    %5 = MatMul(%1, %2{3})
    {4}
    output %{5} "y"
  }})hone",
      t, rows, batch, e.bias ? ", %3" : "",
      plain ? ""
            : fmt::format(R"hone(%6 = Pointwise(%5{}) {{program="{}"}})hone", e.residual ? ", %4" : "",
                          program_of(type, e.residual, e.activation)),
      plain ? 5 : 6));
}

std::vector<Epilogue> epilogues_of(DType type) {
  std::vector<Epilogue> epilogues;
  for (const bool bias : {false, true})
    for (const bool residual : {false, true})
      for (const char* activation : {"", "relu", "gelu_tanh"})
        if (activation != std::string("gelu_tanh") || type != DType::f32)
          epilogues.push_back({bias, residual, activation});
  return epilogues;
}

TEST(LibraryEpilogues, AreTakenWithoutAskingAGpu) {
  if (const auto version = cuda::cublaslt_version(); !version.ok()) GTEST_SKIP() << version.status().message();
  const Machine machine{.cuda_arch = "sm_90", .cuda_device = 0};
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    for (const Epilogue& e : epilogues_of(type))
      EXPECT_EQ(find_tactic("cuda.matmul_cublaslt")->supports(problem_of(type, e), machine), "")
          << name(type) << " " << e.bias << e.residual << e.activation;
}

TEST_P(GpuLibrary, EveryAlgorithmIsRightWithEveryEpilogue) {
  const DType type = GetParam();
  cpu::ThreadPool pool(1);
  int checked = 0;
  for (const Epilogue& e : epilogues_of(type)) {
    const Problem problem = problem_of(type, e), in_f32 = problem_of(DType::f32, e);
    Tensors inputs, exact;
    for (size_t i = 0; i < problem.inputs.size(); ++i) {
      inputs.push_back(
          converted(testing::random_tensor(*problem.inputs[i].shape.concrete(), static_cast<unsigned>(i + 1)), type));
      exact.push_back(converted(inputs.back(), DType::f32));
    }
    const auto want = in_f32.op.evaluate({exact, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    auto box = GpuSandbox::create(problem, 0, inputs);
    ASSERT_TRUE(box.ok()) << box.status().message();
    for (const char* tactic_name : {"cuda.matmul_cublaslt", "cuda.matmul_cublaslt_tf32"}) {
      const Tactic& tactic = *find_tactic(tactic_name);
      const bool tf32 = tactic.name.ends_with("tf32");
      if (tf32 && type != DType::f32) continue;
      ASSERT_EQ(tactic.supports(problem, machine_), "");
      const int variants = tactic.variants(problem, machine_);
      EXPECT_GT(variants, 0) << tactic.name << " " << e.bias << e.residual << e.activation;
      for (int v = 0; v < variants; ++v) {
        const auto prepared = tactic.prepare(problem, v, machine_);
        ASSERT_TRUE(prepared.ok()) << prepared.status().message();
        const auto kernel = tactic.make(problem, prepared->packed, v, machine_);
        ASSERT_TRUE(kernel.ok()) << kernel.status().message();
        const auto got = (*box)->run(**kernel, *prepared, pool), again = (*box)->run(**kernel, *prepared, pool);
        if (got.status().code() == Code::unsupported) continue;
        ASSERT_TRUE(got.ok() && again.ok()) << prepared->algorithm << ": " << got.status().message();
        EXPECT_EQ(std::memcmp((*got)[0].raw(), (*again)[0].raw(), (*got)[0].bytes()), 0) << prepared->algorithm;
        const double unit = type == DType::f16 ? 0x1p-11 : type == DType::bf16 ? 0x1p-8 : 0x1p-24;
        // Sums of 64 products of at most 1; gelu by an approximate tanh of 11 bits.
        const double sums = 64 * (tf32 ? 0x1p-9 : 64 * 0x1p-24), gelu = e.activation == "gelu_tanh" ? 0x1p-10 : 0;
        int wrong = 0;
        for (int64_t i = 0; i < (*got)[0].count(); ++i) {
          const double right = (*want)[0].at(i);
          wrong += !(std::fabs((*got)[0].at(i) - right) <= (1.01 * unit + gelu) * std::fabs(right) + sums + gelu);
        }
        EXPECT_EQ(wrong, 0) << tactic.name << " " << e.bias << e.residual << e.activation << ": "
                            << prepared->algorithm;
        ++checked;
        // A graph of launches: it can be recorded.
        if (v > 0) continue;
        EXPECT_TRUE((*box)->time_us(**kernel, *prepared, pool).ok()) << tactic.name;
      }
    }
  }
  EXPECT_GT(checked, 0);
}

INSTANTIATE_TEST_SUITE_P(Types, GpuLibrary, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

// As steps, as they are recorded, and as a graph.
TEST_F(GpuLibraryEngine, AnEngineRunsTheAlgorithmThatItHolds) {
  const auto graph = graph_from_text(testing::kLibraryProduct);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  Machine machine = machine_;
  machine.tf32 = false;
  Selector selector({.machine = machine, .tune = false});
  auto data = lower(*graph, selector, machine);
  ASSERT_TRUE(data.ok()) << data.status().message();
  data->program.target = "cuda";
  const NodeId node = graph->order()[0];
  const Problem problem{.op = graph->node(node).op,
                        .inputs = {graph->type(graph->inputs()[0]), graph->type(graph->inputs()[1])},
                        .outputs = {graph->type(graph->outputs()[0])}};
  const Tactic& tactic = *find_tactic("cuda.matmul_cublaslt");
  const auto prepared = tactic.prepare(problem, 0, machine);
  ASSERT_TRUE(prepared.ok()) << prepared.status().message();
  const auto kernel = tactic.make(problem, prepared->packed, 0, machine);
  ASSERT_TRUE(kernel.ok()) << kernel.status().message();
  testing::use_library(*data, prepared->packed[0], (*kernel)->workspace_bytes());
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const Tensors inputs{testing::random_tensor({33, 20}, 1), testing::random_tensor({20, 50}, 2)};
  const auto want = interpret(*graph, inputs);
  ASSERT_TRUE(want.ok());
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.bind_input("a", inputs[0]).ok());
  ASSERT_TRUE(context.bind_input("b", inputs[1]).ok());
  for (int run = 0; run < 3; ++run) {
    const Status status = context.run();
    ASSERT_TRUE(status.ok()) << status.message();
    const Tensor y = *context.output("y");
    for (int64_t i = 0; i < y.count(); ++i) EXPECT_NEAR(y.at(i), (*want)[0].at(i), 20 * 20 * 0x1p-24) << run;
  }
}

}  // namespace
}  // namespace hone
