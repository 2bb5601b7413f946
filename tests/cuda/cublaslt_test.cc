// What can be checked of the library's products without a GPU: which problems are refused and why, that its descriptors
// mean the product, and that an engine knows the version that it was built with.
#include "cuda/cublaslt.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "backends/problem.h"
#include "backends/select.h"
#include "compile/compile.h"
#include "cuda/nvrtc.h"
#include "engine/inspect.h"
#include "engine/manifest.h"
#include "fused_problem.h"
#include "library_step.h"
#include "runtime/context.h"

namespace hone {
namespace {

using Product = cuda::LibraryProduct;
using testing::fused_problem;

const Machine kHopper{.cuda_arch = "sm_90", .cuda_device = 0};

// y = MatMul(a, b, c) of f16, and a program of it.
std::string half_graph(const std::string& residual, const std::string& program) {
  return R"hone(graph {
    input %1 "a" : f16[32,64]
    input %2 "b" : f16[64,48]
    input %3 "c" : f16[48]
    input %4 "r" : f16)hone" +
         residual + R"hone(
    %5 = MatMul(%1, %2, %3)
    %6 = Pointwise(%5, %4) {program=")hone" +
         program + R"hone("}
    output %6 "y"
  })hone";
}

class CublasLt : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto version = cuda::cublaslt_version(); !version.ok()) GTEST_SKIP() << version.status().message();
  }

  static std::string refusal(const std::string& graph, const char* tactic = "cuda.matmul_cublaslt",
                             const Machine& machine = kHopper) {
    return find_tactic(tactic)->supports(fused_problem(graph), machine);
  }
};

constexpr const char* kSum = "in0:f16; in1:f16; cast:f32(0); cast:f32(1); add:f32(2,3); ";

TEST_F(CublasLt, TakesEpiloguesThatTheLibraryKnows) {
  const std::string sum = kSum;
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "cast:f16(4)")), "");
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "relu:f32(4); cast:f16(5)")), "");
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "gelu_tanh:f32(4); cast:f16(5)")), "");
  const std::string lacks = "an epilogue that cuBLASLt lacks";
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "gelu_erf:f32(4); cast:f16(5)")), lacks);
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "silu:f32(4); cast:f16(5)")), lacks);
  EXPECT_EQ(refusal(half_graph("[32,1]", sum + "cast:f16(4)")), lacks);
  EXPECT_EQ(refusal(half_graph("[48]", sum + "cast:f16(4)")), lacks);  // a second bias
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "add:f32(4,3); cast:f16(5)")), lacks);
  EXPECT_EQ(refusal(half_graph("[32,48]", sum + "add:f32(4,2); cast:f16(5)")), lacks);
  EXPECT_EQ(refusal(half_graph("[32,48]",
                               "in0:f16; in1:f16; cast:f32(0); relu:f32(2); cast:f32(1); add:f32(3,4); "
                               "cast:f16(5)")),
            lacks);
  EXPECT_EQ(refusal(half_graph("[32,48]", "in1:f16; cast:f32(0); relu:f32(1); cast:f16(2)")), lacks);
}

TEST_F(CublasLt, RefusesWhatItCannotDoInTheTypesAllowed) {
  const std::string product = R"hone(graph {
    input %1 "a" : f32[3,5,7]
    input %2 "b" : f32[3,7,9]
    %3 = MatMul(%1, %2)
    output %3 "y"
  })hone";
  EXPECT_EQ(refusal(product), "");
  EXPECT_NE(refusal(product, "cuda.matmul_cublaslt_tf32").find("TF32"), std::string::npos);
  Machine tf32 = kHopper;
  tf32.tf32 = true;
  EXPECT_EQ(refusal(product, "cuda.matmul_cublaslt_tf32", tf32), "");
  EXPECT_NE(refusal(half_graph("[32,48]", std::string(kSum) + "cast:f16(4)"), "cuda.matmul_cublaslt_tf32", tf32), "");
  EXPECT_EQ(refusal(product, "cuda.conv_cublaslt"), "another op");
  EXPECT_NE(refusal(product, "cuda.matmul_cublaslt", {.cuda_arch = "sm_90"}).find("not here"), std::string::npos);
  EXPECT_EQ(refusal(R"hone(graph {
    input %1 "a" : f32[5,7]
    input %2 "b" : f32[7,9]
    %3 = MatMul(%1, %2)
    %4 = Pointwise(%3) {program="in0:f32; gelu_tanh:f32(0)"}
    output %4 "y"
  })hone"),
            "gelu in f32");
  EXPECT_EQ(refusal(R"hone(graph {
    input %1 "a" : f32[1,3,5,7]
    input %2 "b" : f32[2,1,7,9]
    %3 = MatMul(%1, %2)
    output %3 "y"
  })hone"),
            "an operand is broadcast");
}

TEST_F(CublasLt, TakesConvolutionsThatAreProducts) {
  const auto conv = [](int64_t filter, int64_t stride) {
    return fmt::format(R"hone(graph {{
      input %1 "x" : f16[2,9,9,16]
      input %2 "w" : f16[24,16,{0},{0}]
      %3 = Conv(%1, %2) {{strides=[{1},{1}], dilations=[1,1], pads=[0,0,0,0], channels_last=true}}
      output %3 "y"
    }})hone",
                       filter, stride);
  };
  EXPECT_EQ(refusal(conv(1, 1), "cuda.conv_cublaslt"), "");
  for (const auto& graph : {conv(1, 2), conv(3, 1)})
    EXPECT_NE(refusal(graph, "cuda.conv_cublaslt").find("no product"), std::string::npos);
  EXPECT_EQ(refusal(conv(1, 1)), "another op");
}

// An engine holds the version, the workspace and the algorithm's words.
TEST_F(CublasLt, AnEngineKnowsTheVersionItWasBuiltWith) {
  const Problem problem = fused_problem(half_graph("[32,48]", std::string(kSum) + "cast:f16(4)"));
  const Tactic& tactic = *find_tactic("cuda.matmul_cublaslt");
  const auto here = *cuda::cublaslt_version();
  std::vector<int64_t> held{here.major, here.minor, here.patch, 1000, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto made = [&](std::vector<int64_t> words) {
    const Tensor packed = Tensor::vector(words);
    return tactic.make(problem, {&packed, 1}, 0, kHopper);
  };
  const auto kernel = made(held);
  ASSERT_TRUE(kernel.ok()) << kernel.status().message();
  EXPECT_GE((*kernel)->workspace_bytes(), 1000);  // and what it takes to align it

  ++held[1];
  const Status other = made(held).status();
  EXPECT_EQ(other.code(), Code::device);
  EXPECT_EQ(other.message(), fmt::format("the engine uses cuBLASLt {}.{}.{}, here is {}: build it again", here.major,
                                         here.minor + 1, here.patch, here.text()));
  --held[1];
  for (const int64_t bytes : {int64_t{-1}, int64_t{1} << 40}) {
    held[3] = bytes;
    EXPECT_FALSE(made(held).ok()) << bytes;
  }
  EXPECT_FALSE(made({here.major, here.minor, here.patch}).ok());
  EXPECT_FALSE(tactic.make(problem, {}, 0, kHopper).ok());
}

TEST_F(CublasLt, AnEngineForAnotherVersionIsRefusedWhenItIsLoaded) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  auto graph = graph_from_text(testing::kLibraryProduct);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  auto data = compile_graph(*graph, {.target = "cuda", .cuda_arch = "sm_90"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const std::vector<int64_t> words{11, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  testing::use_library(*data, Tensor::vector(words), 0);
  EXPECT_NE(inspect_json(data->program).find("\"cuBLASLt 11.2.3\""), std::string::npos);
  const auto manifest = program_from_json(to_json(data->program));
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(libraries_of(*manifest), std::vector<std::string>{"cuBLASLt 11.2.3"});
  const Status status = LoadedEngine::make(std::move(*data)).status();
  EXPECT_EQ(status.code(), Code::device);
  EXPECT_NE(status.message().find("the engine uses cuBLASLt 11.2.3, here is "), std::string::npos) << status.message();
}

// Where the library is there but its GPU cannot be asked, Hone's own kernel is taken.
TEST_F(CublasLt, AGpuThatCannotBeAskedCostsNothingButItsTactics) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  if (cuda::devices().ok()) GTEST_SKIP() << "there is a GPU";
  auto graph = graph_from_text(testing::kLibraryProduct);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  Selector selector({.machine = kHopper, .tune = false});
  const auto choice = selector.choose(problem_of(*graph, graph->order()[0]));
  ASSERT_TRUE(choice.ok()) << choice.status().message();
  EXPECT_EQ(choice->tactic->name, "cuda.matmul");
  const auto refused = std::find_if(choice->refused.begin(), choice->refused.end(),
                                    [](const auto& r) { return r.first == "cuda.matmul_cublaslt"; });
  ASSERT_NE(refused, choice->refused.end());
  EXPECT_NE(refused->second.find("driver"), std::string::npos) << refused->second;
}

TEST_F(CublasLt, IsRefusedWhereTheSameBitsAreWanted) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  auto graph = graph_from_text(testing::kLibraryProduct);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  Selector selector({.machine = kHopper, .tune = false, .deterministic = true});
  const auto choice = selector.choose(problem_of(*graph, graph->order()[0]));
  ASSERT_TRUE(choice.ok()) << choice.status().message();
  EXPECT_TRUE(choice->tactic->varies.empty());
  const auto refused = std::find_if(choice->refused.begin(), choice->refused.end(),
                                    [](const auto& r) { return r.first == "cuda.matmul_cublaslt"; });
  ASSERT_NE(refused, choice->refused.end());
  EXPECT_EQ(refused->second.find("not deterministic: "), 0u) << refused->second;
}

// Sums in an order of Hone's own are always the same; that is the library's business where it adds up.
TEST(Tactics, ThatVaryAreTheLibrarys) {
  for (const Tactic& tactic : tactic_table())
    EXPECT_EQ(!tactic.varies.empty(), tactic.name.find("cublaslt") != std::string_view::npos) << tactic.name;
}

// Element (row, column) of entry z of a matrix as the library reads it, after its own transposition.
double element(const cuda::LibraryMatrix& m, const Tensor& memory, int64_t z, int64_t row, int64_t column) {
  if (m.transposed) std::swap(row, column);
  EXPECT_LT(row, m.rows);
  EXPECT_LT(column, m.columns);
  return memory.at(z * m.batch_stride + column * m.ld + row);
}

TEST(CublasLtMatrices, MeanTheProduct) {
  struct Case {
    Dims a, b;
    bool trans_a, trans_b;
  };
  const Case cases[] = {{{5, 7}, {7, 3}, false, false},       {{7, 5}, {7, 3}, true, false},
                        {{5, 7}, {3, 7}, false, true},        {{7, 5}, {3, 7}, true, true},
                        {{4, 5, 7}, {4, 7, 3}, false, false}, {{4, 7, 5}, {1, 3, 7}, true, true},
                        {{1, 5, 7}, {4, 3, 7}, false, true},  {{1, 1}, {1, 9}, false, false}};
  for (const Case& c : cases) {
    Tensor a(DType::f32, c.a), b(DType::f32, c.b);
    for (int64_t i = 0; i < a.count(); ++i) a.set(i, static_cast<double>(i % 11) - 5);
    for (int64_t i = 0; i < b.count(); ++i) b.set(i, static_cast<double>(i % 7) - 3);
    const auto op = make_op("MatMul", {{"trans_a", c.trans_a}, {"trans_b", c.trans_b}});
    ASSERT_TRUE(op.ok());
    const Tensors inputs{a, b};
    const auto want = op->evaluate({inputs, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    const auto batch_of = [](const Dims& dims) { return dims.size() == 3 ? dims[0] : 1; };
    const int64_t batch = std::max(batch_of(c.a), batch_of(c.b));
    const Product product{.m = c.a[c.a.size() - (c.trans_a ? 1 : 2)],
                          .n = c.b[c.b.size() - (c.trans_b ? 2 : 1)],
                          .k = c.a[c.a.size() - (c.trans_a ? 2 : 1)],
                          .batch = batch,
                          .trans_a = c.trans_a,
                          .trans_b = c.trans_b,
                          .a_batched = batch_of(c.a) == batch,
                          .b_batched = batch_of(c.b) == batch};
    const cuda::LibraryMatrices matrices = cuda::matrices_of(product);
    for (int64_t z = 0; z < batch; ++z)
      for (int64_t row = 0; row < matrices.y.rows; ++row)
        for (int64_t column = 0; column < matrices.y.columns; ++column) {
          double sum = 0;
          for (int64_t k = 0; k < product.k; ++k)
            sum += element(matrices.left, b, z, row, k) * element(matrices.right, a, z, k, column);
          EXPECT_EQ(sum, element(matrices.y, (*want)[0], z, row, column)) << z << " " << row << " " << column;
        }
  }
}

}  // namespace
}  // namespace hone
