// What can be checked without a GPU: every kernel compiles for every architecture that is claimed, and problems are
// given to the kernels meant for them. NVRTC is needed, and found as the program finds it.
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>

#include "backends/peaks.h"
#include "backends/problem.h"
#include "backends/sub_batches.h"
#include "compile/compile.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"
#include "ops/numbers.h"
#include "runtime/context.h"
#include "runtime/load.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/kernel.h"

#include "more_kernel_rows.h"
#include "small_network.h"

namespace hone {
namespace {

constexpr const char* kArchitectures[] = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"};

Graph parse(const std::string& text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? std::move(*graph) : Graph();
}

// A convolution with random weights, which text has no short form for.
Graph conv_graph(int64_t groups, bool residual) {
  Graph g = parse(fmt::format(R"(graph {{ input %1 "x" : f32[2,11,12,8] {} }})",
                              residual ? R"(input %2 "r" : f32[2,6,12,16])" : ""));
  const ValueId x = g.inputs()[0];
  Tensor w(DType::f32, {16, 8 / groups, 3, 2});
  for (int64_t i = 0; i < w.count(); ++i) w.set(i, static_cast<double>(i % 7) - 3);
  auto made = make_op("Conv", {{"strides", std::vector<int64_t>{2, 1}},
                               {"dilations", std::vector<int64_t>{1, 2}},
                               {"pads", std::vector<int64_t>{1, 0, 1, 2}},
                               {"groups", groups},
                               {"channels_last", true}});
  EXPECT_TRUE(made.ok());
  const auto node =
      g.add_node(*made, {x, g.add_constant(w, "w"), g.add_constant(Tensor(DType::f32, {16}), "b")}, 1, {"conv"});
  EXPECT_TRUE(node.ok()) << node.status().message();
  ValueId y = g.node(*node).outputs[0];
  if (residual) {
    auto sum = make_op("Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1); relu:f32(2)")}});
    const auto added = g.add_node(*sum, {y, g.inputs()[1]}, 1, {"sum"});
    EXPECT_TRUE(added.ok()) << added.status().message();
    y = g.node(*added).outputs[0];
  }
  g.add_output(y, "y");
  return g;
}

class Lowering : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  }

  void expect_tactic(Graph graph, const std::string& tactic) {
    const auto engine = compile_graph(graph, {.target = "cuda", .cuda_arch = GetParam(), .verify_passes = true});
    ASSERT_TRUE(engine.ok()) << tactic << ": " << engine.status().message();
    EXPECT_EQ(engine->program.cuda_arch, GetParam());
    const auto& steps = engine->program.steps;
    EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [&](const Step& s) { return s.tactic == tactic; }))
        << tactic << ", not " << steps.back().tactic;
  }

  // The first `most` variants compile.
  void expect_variants(std::string_view name, const Problem& problem, int most) {
    const Machine machine{.cuda_arch = GetParam()};
    const Tactic& tactic = *find_tactic(name);
    ASSERT_EQ(tactic.supports(problem, machine), "") << name;
    for (int v = 0; v < std::min(most, tactic.variants(problem, machine)); ++v) {
      const auto prepared = tactic.prepare(problem, v, machine);
      ASSERT_TRUE(prepared.ok()) << name << " " << v << ": " << prepared.status().message();
      EXPECT_TRUE(tactic.make(problem, prepared->packed, v, machine).ok());
    }
  }
};

TEST_P(Lowering, EveryKernelCompiles) {
  for (const Row& row : kRows) expect_tactic(parse(row.graph), row.tactic);
  for (const Row& row : kMoreRows) expect_tactic(parse(row.graph), row.tactic);
}

TEST_P(Lowering, ConvolutionsCompile) {
  for (const bool residual : {false, true}) {
    expect_tactic(conv_graph(1, residual), "cuda.conv_simt");
    expect_tactic(conv_graph(4, residual), "cuda.conv_grouped");
  }
}

TEST_P(Lowering, EveryTileOfTrueFp32Compiles) {
  const Graph convolution = conv_graph(1, true);
  const Graph product = parse(R"hone(graph {
      input %1 "a" : f32[5,3,17,64]
      input %2 "b" : f32[5,3,9,64]
      %3 = MatMul(%1, %2) {trans_b=true}
      output %3 "y"
    })hone");
  expect_variants("cuda.conv_simt", problem_of(convolution, convolution.order().front()), INT_MAX);
  expect_variants("cuda.matmul_simt", problem_of(product, product.order().front()), INT_MAX);
}

TEST_P(Lowering, EveryTf32VariantCompilesWhereItIsAllowed) {
  const std::pair<const char*, Graph> cases[] = {{"cuda.conv_mma", conv_graph(1, false)},
                                                 {"cuda.matmul_mma", parse(R"hone(graph {
      input %1 "a" : f32[5,3,17,64]
      input %2 "b" : f32[5,3,9,64]
      %3 = MatMul(%1, %2) {trans_b=true}
      output %3 "y"
    })hone")}};
  for (const auto& [name, graph] : cases) {
    const Tactic& tactic = *find_tactic(name);
    const Problem problem = problem_of(graph, graph.order().front());
    EXPECT_NE(tactic.supports(problem, {.cuda_arch = GetParam()}), "") << name;
    const Machine machine{.cuda_arch = GetParam(), .tf32 = true};
    ASSERT_EQ(tactic.supports(problem, machine), "") << name;
    const int variants = tactic.variants(problem, machine),
              step = problem.op.name() == "Conv" ? variants - 1 : 1;  // the same tiles
    ASSERT_GE(variants, 3);
    for (int v = 0; v < variants; v += step) {
      const auto prepared = tactic.prepare(problem, v, machine);
      ASSERT_TRUE(prepared.ok()) << name << " " << v << ": " << prepared.status().message();
      EXPECT_TRUE(tactic.make(problem, prepared->packed, v, machine).ok());
    }
    EXPECT_FALSE(tactic.make(problem, {}, 0, machine).ok());
  }
}

// A convolution as a problem: [n, size, size, cin] with square filters.
Problem conv_problem(DType type, int64_t n, int64_t size, int64_t cin, int64_t cout, int64_t filter, int64_t stride,
                     int64_t groups = 1) {
  const int64_t pad = filter / 2, out = (size + 2 * pad - filter) / stride + 1;
  const auto op = make_op("Conv", {{"strides", std::vector<int64_t>{stride, stride}},
                                   {"dilations", std::vector<int64_t>{1, 1}},
                                   {"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                                   {"groups", groups},
                                   {"channels_last", true}});
  EXPECT_TRUE(op.ok());
  const Tensor weights(type, {cout, cin / groups, filter, filter});
  return {.op = *op,
          .inputs = {{type, Shape::of(Dims{n, size, size, cin})}, {type, Shape::of(weights.dims())}},
          .outputs = {{sum_type(type, type), Shape::of(Dims{n, out, out, cout})}},
          .constants = {Tensor(), weights}};
}

TEST_P(Lowering, EveryTileOfHoppersTensorCoresCompiles) {
  const Machine machine{.cuda_arch = GetParam()};
  for (const DType type : {DType::f16, DType::i8, DType::f8e4m3fn}) {
    const std::pair<const char*, Problem> cases[] = {
        {"cuda.conv_wgmma", conv_problem(type, 64, 56, 192, 768, 3, 1)},
        {"cuda.conv_wgmma", conv_problem(type, 1, 7, 512, 512, 3, 1)},
        {"cuda.conv_halo_wgmma", conv_problem(type, 8, 56, 64, 64, 3, 1)},
        {"cuda.conv_halo_wgmma", conv_problem(type, 8, 28, 128, type == DType::f8e4m3fn ? 256 : 512, 1, 1)},
        {"cuda.conv_halo_wgmma", conv_problem(type, 8, 56, 32, 144, 1, 1)},
        {"cuda.conv_halo_ring_wgmma", conv_problem(type, 8, 14, 256, 256, 3, 1)},
        {"cuda.conv_halo_ring_wgmma", conv_problem(type, 8, 14, 512, 512, 3, 2)},
        {"cuda.conv_cells_wgmma", conv_problem(type, 1, 224, 3, 64, 7, 2)},
        {"cuda.conv_stem_wgmma", conv_problem(type, 16, 224, 3, 64, 7, 2)}};
    for (const auto& [name, problem] : cases) {
      const std::string_view tactic = name;
      const bool no_fp8 = tactic == "cuda.conv_stem_wgmma" || tactic == "cuda.conv_halo_ring_wgmma";
      if (machine.cuda_arch == "sm_90" && !(no_fp8 && type == DType::f8e4m3fn)) expect_variants(name, problem, INT_MAX);
      else EXPECT_NE(find_tactic(name)->supports(problem, machine), "") << name;
    }
  }
}

TEST_P(Lowering, EveryTileOfDepthwiseConvolutionsCompiles) {
  for (const Problem& problem :
       {conv_problem(DType::f16, 8, 14, 672, 672, 5, 1, 672), conv_problem(DType::bf16, 8, 56, 144, 144, 5, 2, 144),
        conv_problem(DType::f16, 2, 19, 40, 40, 7, 1, 40)})
    expect_variants("cuda.conv_depthwise_mma", problem, INT_MAX);
}

// Attention over all kinds of what narrows the keys.
Problem attention_problem(const std::string& layout, Dims q, Dims k, Dims mask = {}, bool causal = false,
                          DType type = DType::f16) {
  const auto op = make_op("Attention", {{"layout", layout}, {"causal", causal}});
  EXPECT_TRUE(op.ok());
  const auto of = [type](const Dims& dims) { return TensorType{type, Shape::of(dims)}; };
  const bool packed = layout == "packed";
  const Dims y = packed ? Dims{q[0], q[1], q[3], q[4]} : q;
  Problem problem{.op = *op,
                  .inputs = {of(q), packed ? TensorType{} : of(k), packed ? TensorType{} : of(k)},
                  .outputs = {of(y)},
                  .constants = Tensors(4)};
  problem.inputs.push_back(mask.empty() ? TensorType{} : of(mask));
  return problem;
}

TEST_P(Lowering, EveryShapeOfAttentionCompiles) {
  const Problem problems[] = {attention_problem("packed", {32, 197, 3, 12, 64}, {}),
                              attention_problem("packed", {1, 128, 3, 12, 64}, {}, {1, 1, 1, 128}),
                              attention_problem("rows", {2, 70, 6, 80}, {2, 333, 2, 80}, {70, 300}),
                              attention_problem("heads", {1, 4, 1000, 128}, {1, 4, 1000, 128}, {}, true),
                              attention_problem("heads", {1, 2, 9, 32}, {1, 2, 40, 32})};
  for (const Problem& problem : problems) {
    expect_variants("cuda.attention_mma", problem, INT_MAX);
    if (std::string_view(GetParam()) == "sm_90") expect_variants("cuda.attention_wgmma", problem, INT_MAX);
    else EXPECT_NE(find_tactic("cuda.attention_wgmma")->supports(problem, {.cuda_arch = GetParam()}), "");
  }
  expect_variants("cuda.attention_tiles", attention_problem("packed", {8, 197, 3, 12, 64}, {}, {}, false, DType::f32),
                  INT_MAX);
  expect_variants("cuda.attention_tiles",
                  attention_problem("heads", {1, 2, 20, 127}, {1, 2, 333, 127}, {20, 300}, true, DType::f32), INT_MAX);
}

TEST_P(Lowering, BlocksMayShareAnAverage) {
  const Graph graph = parse(R"hone(graph {
      input %1 "x" : f16[1,112,112,32]
      const %2 : i64[2] = [1, 2]
      %3 = Reduce(%1, %2) {kind="mean", keep_dims=false}
      output %3 "y"
    })hone");
  const Machine machine{.cuda_arch = GetParam()};
  const Problem problem = problem_of(graph, graph.order().front());
  EXPECT_EQ(find_tactic("cuda.reduce_columns")->variants(problem, machine), cuda::has_clusters(GetParam()) ? 4 : 1);
  expect_variants("cuda.reduce_columns", problem, INT_MAX);
}

TEST_P(Lowering, ANormStoresIntegers) {
  expect_tactic(parse(R"hone(graph {
      input %1 "x" : f16[7,96]
      input %2 "s" : f16[96]
      %3 = LayerNorm(%1, %2)
      %4 = Pointwise(%3)
        {program="in0:f16; cast:f32(0); round:f32(1); constant:f32(-9); constant:f32(9); clip:f32(2,3,4); cast:i8(5)"}
      output %4 "y"
    })hone"),
                "cuda.layer_norm_warp");
}

TEST_P(Lowering, IntegersHaveAKernelOfEachKind) {
  const Problem cases[] = {conv_problem(DType::i8, 1, 9, 32, 24, 3, 1), conv_problem(DType::i8, 1, 9, 5, 24, 3, 2),
                           conv_problem(DType::i8, 1, 9, 32, 32, 3, 1, 32)};
  for (const Problem& problem : cases) {
    for (const Tactic& tactic : tactic_table())
      if (tactic.backend == Backend::cuda && tactic.supports(problem, {.cuda_arch = GetParam()}).empty())
        expect_variants(tactic.name, problem, 1);
  }
  expect_tactic(parse(R"hone(graph {
      input %1 "a" : i8[17,64]
      input %2 "b" : i8[9,64]
      input %3 "scale" : f32[9]
      input %4 "residual" : i8[17,9]
      %5 = MatMul(%1, %2) {trans_b=true}
      %6 = Pointwise(%5, %3, %4) {program=")hone"
                      "in0:i32; cast:f32(0); in1:f32; mul:f32(1,2); in2:i8; cast:f32(4); constant:f32(0.1); "
                      "mul:f32(5,6); add:f32(3,7); constant:f32(9); mul:f32(8,9); round:f32(10); constant:f32(-128); "
                      "constant:f32(127); clip:f32(11,12,13); cast:i8(14)"
                      R"hone("}
      output %6 "y"
    })hone"),
                "cuda.matmul_mma");
}

TEST_P(Lowering, Fp32OfAnyNumberOfChannelsCompiles) {
  expect_variants("cuda.conv", conv_problem(DType::f32, 1, 9, 5, 24, 3, 1), 1);
}

// e4m3 stored by an epilogue beside what it reads of it, and products of it, which some GPUs' tensor cores lack.
TEST_P(Lowering, Fp8HasAKernelOfEachKind) {
  const Machine machine{.cuda_arch = GetParam()};
  const bool fast = cuda::has_fp8(GetParam());
  for (const int64_t channels : {32, 5}) {
    const Problem problem = conv_problem(DType::f8e4m3fn, 1, 9, channels, 24, 3, 1);
    for (const Tactic& tactic : tactic_table())
      if (tactic.backend == Backend::cuda && tactic.supports(problem, machine).empty())
        expect_variants(tactic.name, problem, 1);
    const Tactic& mma = *find_tactic(channels == 32 ? "cuda.conv_mma" : "cuda.conv_gathered_mma");
    EXPECT_EQ(mma.supports(problem, machine), fast ? "" : fmt::format("{} has no fp8", GetParam()));
  }
  expect_variants("cuda.conv_depthwise", conv_problem(DType::f8e4m3fn, 1, 9, 32, 32, 3, 1, 32), 1);
  expect_tactic(parse(R"hone(graph {
      input %1 "a" : f8e4m3fn[17,64]
      input %2 "b" : f8e4m3fn[9,64]
      input %3 "scale" : f32[9]
      input %4 "residual" : f8e4m3fn[17,9]
      %5 = MatMul(%1, %2) {trans_b=true}
      %6 = Pointwise(%5, %3, %4) {program=")hone"
                      "in0:f32; in1:f32; mul:f32(0,1); in2:f8e4m3fn; cast:f32(3); constant:f32(0.1); mul:f32(4,5); "
                      "add:f32(2,6); constant:f32(9); mul:f32(7,8); cast_saturate:f8e4m3fn(9)"
                      R"hone("}
      output %6 "y"
    })hone"),
                fast ? "cuda.matmul_mma" : "cuda.matmul");
  expect_tactic(parse(R"hone(graph {
      input %1 "x" : f32[33]
      %2 = Pointwise(%1) {program="in0:f32; cast:f8e4m3fn(0); cast:f32(1); exp:f32(2); cast_saturate:f8e4m3fn(3)"}
      output %2 "y"
    })hone"),
                "cuda.pointwise");
}

// A product by weights of few bits, with zero points of their own or not.
Problem nbits_problem(DType type, int64_t m, int64_t n, int64_t k, int64_t bits, int64_t block, bool centred) {
  const auto op = make_op("MatMulNBits", {{"bits", bits}, {"block", block}});
  EXPECT_TRUE(op.ok());
  const int64_t blocks = (k + block - 1) / block;
  Tensor zeros(DType::u8, {n, blocks});
  for (int64_t i = 0; i < zeros.count(); ++i) zeros.set_int(i, centred ? int64_t{1} << (bits - 1) : i % 7);
  Problem problem{.op = *op,
                  .outputs = {{type, Shape::of(Dims{m, n})}},
                  .constants = {Tensor(), Tensor(DType::u8, {n, blocks, (block * bits + 7) / 8}),
                                Tensor(DType::f32, {n, blocks}), zeros, Tensor(DType::f32, {n})}};
  problem.inputs.push_back({type, Shape::of(Dims{m, k})});
  for (size_t i = 1; i < problem.constants.size(); ++i)
    problem.inputs.push_back({problem.constants[i].type(), Shape::of(problem.constants[i].dims())});
  return problem;
}

TEST_P(Lowering, WeightsOfFewBitsCompile) {
  const std::tuple<DType, int64_t, bool> cases[] = {
      {DType::f32, 4, true}, {DType::f16, 8, false}, {DType::bf16, 4, false}, {DType::f16, 4, true}};
  for (const auto& [type, bits, centred] : cases) {
    const Problem few = nbits_problem(type, 9, 36, 80, bits, 16, centred);
    expect_variants("cuda.matmul_nbits_rows", few, 1);
    expect_variants("cuda.matmul_nbits", nbits_problem(type, 3, 9, 31, bits, 15, centred), 1);
    if (type == DType::f32) continue;
    expect_variants("cuda.matmul_nbits_mma", few, 1);
    if (std::string_view(GetParam()) == "sm_90")
      expect_variants("cuda.matmul_nbits_wgmma", nbits_problem(type, 128, 768, 768, bits, 32, centred), 1);
  }
  const Machine machine{.cuda_arch = GetParam()};
  EXPECT_EQ(find_tactic("cuda.matmul_nbits_rows")->supports(nbits_problem(DType::f16, 3, 9, 31, 4, 15, true), machine),
            "rows or blocks are not a multiple of 8 weights");
}

INSTANTIATE_TEST_SUITE_P(Architectures, Lowering, ::testing::ValuesIn(kArchitectures));

TEST(Cuda, UnknownArchitecturesAreRefused) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  for (const char* arch : {"sm_1", "sm_999", "gfx90a"}) {
    const auto engine = compile_graph(parse(kRows[0].graph), {.target = "cuda", .cuda_arch = arch});
    EXPECT_FALSE(engine.ok()) << arch;
  }
  EXPECT_FALSE(compile_graph(parse(kRows[0].graph), {.target = "cpu", .cuda_arch = "sm_90"}).ok());
}

// What follows from the batch alone is a parameter: code that was compiled for one batch is found for another.
TEST(Cuda, OneProgramServesSeveralBatches) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  const Machine machine{.cuda_arch = "sm_90", .tf32 = true};
  struct Case {
    const char* tactic;
    DType type;
    int64_t batches[2], size, cin, cout, filter, stride = 1;
  };
  const Case cases[] = {{"cuda.conv_wgmma", DType::f16, {64, 128}, 56, 64, 128, 1},
                        {"cuda.conv_halo_wgmma", DType::f16, {8, 12}, 56, 64, 64, 3},
                        {"cuda.conv_halo_wgmma", DType::f16, {8, 12}, 28, 128, 512, 1},
                        {"cuda.conv_halo_ring_wgmma", DType::f16, {7, 8}, 14, 256, 256, 3},
                        {"cuda.conv_stem_wgmma", DType::f16, {16, 128}, 224, 3, 64, 7, 2},
                        {"cuda.conv_1x1_wgmma", DType::i8, {32, 64}, 28, 128, 128, 1},
                        {"cuda.conv_mma", DType::f16, {2, 3}, 14, 64, 64, 3},
                        {"cuda.conv", DType::f32, {2, 3}, 56, 16, 16, 3},
                        {"cuda.conv_direct", DType::f32, {2, 3}, 14, 16, 16, 3}};
  for (const Case& c : cases) {
    const Tactic& tactic = *find_tactic(c.tactic);
    std::vector<std::string> first;
    bool found = false;
    for (const int64_t n : c.batches) {
      Problem problem = conv_problem(c.type, n, c.size, c.cin, c.cout, c.filter, c.stride);
      if (c.type == DType::i8) problem.outputs[0].dtype = DType::i8;
      ASSERT_EQ(tactic.supports(problem, machine), "") << c.tactic;
      for (int v = 0; v < std::min(3, tactic.variants(problem, machine)); ++v) {
        const auto prepared = tactic.prepare(problem, v, machine);
        ASSERT_TRUE(prepared.ok()) << c.tactic << ": " << prepared.status().message();
        std::string code(prepared->packed[0].data<char>(), prepared->packed[0].bytes());
        if (n == c.batches[0]) first.push_back(std::move(code));
        else found = found || std::ranges::find(first, code) != first.end();
      }
    }
    EXPECT_TRUE(found) << c.tactic;
  }
}

TEST(Cuda, PartsOfABatchAreViews) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  auto divided = in_sub_batches(testing::batch_of_images(4), {.part = 8 << 10, .whole = 8 << 10});
  ASSERT_TRUE(divided.ok() && divided->has_value());
  const auto engine = compile_graph(divided->value().graph, {.target = "cuda", .cuda_arch = "sm_90"});
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  for (const Step& step : engine->program.steps) EXPECT_TRUE(step.op != "Split" && step.op != "Concat") << step.op;
  EXPECT_EQ(std::ranges::count_if(engine->program.slots, [](const Slot& s) { return s.offset > 0 && s.alias_of >= 0; }),
            2 * 3);  // of the input, and of what is handed on
}

// Kernels read more at once than such parts are aligned for.
TEST(Cuda, PartsThatAreNotAlignedAreCopied) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  const auto engine = compile_graph(parse(R"hone(graph {
      input %1 "x" : f32[5]
      %2 = Pointwise(%1) {program="in0:f32; relu:f32(0)"}
      %3 = Pointwise(%1) {program="in0:f32; abs:f32(0)"}
      %4 = Concat(%2, %3) {axis=0}
      output %4 "y"
    })hone"),
                                    {.target = "cuda", .cuda_arch = "sm_90"});
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_EQ(engine->program.steps.back().op, "Concat");
}

TEST(Cuda, AnOpWithoutInputsIsForTheCpu) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  const auto engine = compile_graph(parse(R"hone(graph {
      %1 = SequenceConstruct() {element="f32"}
      %2 = SequenceLength(%1)
      output %2 "y"
    })hone"),
                                    {.target = "cuda", .cuda_arch = "sm_90"});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
}

TEST(Cuda, TargetsNameADevice) {
  EXPECT_EQ(cuda::ordinal_of("cuda"), 0);
  EXPECT_EQ(cuda::ordinal_of("cuda:3"), 3);
  for (const char* other : {"cpu", "reference", "cuda:", "cuda:x", "cuda:-1", "cuda3", "cuda:1x", ""})
    EXPECT_FALSE(cuda::ordinal_of(other)) << other;
}

TEST(Cuda, CodeRunsOnItsOwnGenerationFromItsMinorNumberOn) {
  const cuda::Device ada{.major = 8, .minor = 9}, blackwell{.major = 12, .minor = 0};
  EXPECT_TRUE(ada.runs("sm_80"));
  EXPECT_TRUE(ada.runs("sm_89"));
  EXPECT_FALSE(ada.runs("sm_90"));
  EXPECT_FALSE(ada.runs("sm_75"));
  EXPECT_TRUE(blackwell.runs("sm_120"));
  EXPECT_FALSE(blackwell.runs("sm_100"));
  EXPECT_FALSE(blackwell.runs("sm_90"));
}

// Code for sm_90 may use what is there alone (sm_90a).
TEST(Cuda, OfSeveralProgramsTheNearestIsTaken) {
  const std::vector<EngineFile::ProgramInfo> programs{
      {"cuda", "sm_86"}, {"cuda", "sm_80"}, {"cuda", "sm_90"}, {"cuda", "sm_120"}};
  const auto best = [&](int major, int minor) { return best_program(programs, {.major = major, .minor = minor}); };
  EXPECT_EQ(best(8, 0), 1u);
  EXPECT_EQ(best(8, 6), 0u);
  EXPECT_EQ(best(8, 9), 0u);
  EXPECT_EQ(best(9, 0), 2u);
  EXPECT_EQ(best(9, 1), std::nullopt);
  EXPECT_EQ(best(10, 0), std::nullopt);
  EXPECT_EQ(best(12, 1), 3u);
  EXPECT_EQ(best(7, 5), std::nullopt);
}

TEST(Cuda, AnEngineForAGpuSaysWhatIsMissingHere) {
  if (!cuda::nvrtc_version().ok()) GTEST_SKIP() << "NVRTC is missing";
  if (cuda::devices().ok()) GTEST_SKIP() << "there is a GPU";
  auto data = compile_graph(parse(kRows[0].graph), {.target = "cuda", .cuda_arch = "sm_90"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), Code::device);
  EXPECT_NE(engine.status().message().find("driver"), std::string::npos) << engine.status().message();
}

TEST(Cuda, TheMeasurementOfPeaksCompiles) {
  if (const auto version = cuda::nvrtc_version(); !version.ok()) GTEST_SKIP() << version.status().message();
  for (const char* arch : kArchitectures) {
    const auto code = gpu_peaks_code(arch);
    EXPECT_TRUE(code.ok()) << arch << ": " << code.status().message();
  }
}

}  // namespace
}  // namespace hone
