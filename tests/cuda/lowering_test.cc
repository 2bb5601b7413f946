// What can be checked without a GPU: every kernel compiles for every architecture that is claimed, and problems are
// given to the kernels meant for them. NVRTC is needed, and found as the program finds it.
#include <gtest/gtest.h>

#include <algorithm>

#include "backends/peaks.h"
#include "backends/problem.h"
#include "compile/compile.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"
#include "runtime/context.h"

namespace hone {
namespace {

constexpr const char* kArchitectures[] = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"};

struct Row {
  const char* tactic;  // that a step must have
  const char* graph;
};

const Row kRows[] = {
    {"cuda.pointwise", R"hone(graph {
      input %1 "x" : f32[2,3,5]
      input %2 "b" : f32[3,1]
    %3 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1); gelu_erf:f32(2); constant:f32(-inf); max:f32(3,4)"}
      output %3 "y"
    })hone"},
    {"cuda.pointwise", R"hone(graph {
      input %1 "x" : i32[7]
    %2 = Pointwise(%1) {program="in0:i32; constant:i32(3); less:bool(0,1); cast:f32(0); cast:f32(2); where:f32(2,3,4)"}
      output %2 "y"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : f32[1,9,9,4]
      %2 = Pool(%1) {kind="average", kernel=[3,3], strides=[2,2], dilations=[1,1], pads=[1,1,1,1], channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : f32[1,4,9]
      %2 = Pool(%1) {kind="max", kernel=[3], strides=[2], dilations=[2], pads=[1,1]}
      output %2 "y"
    })hone"},
    {"cuda.matmul", R"hone(graph {
      input %1 "a" : f32[3,1,17,5]
      input %2 "b" : f32[2,5,9]
      %3 = MatMul(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.matmul", R"hone(graph {
      input %1 "a" : f32[300,64]
      input %2 "b" : f32[200,64]
      input %3 "bias" : f32[200]
      %4 = MatMul(%1, %2, %3) {trans_b=true}
      %5 = Pointwise(%4) {program="in0:f32; relu:f32(0)"}
      output %5 "y"
    })hone"},
    {"cuda.softmax", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      %2 = Softmax(%1) {axis=1, log=true}
      output %2 "y"
    })hone"},
    {"cuda.layer_norm", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      input %2 "s" : f32[3]
      input %3 "b" : f32[3]
      %4 = LayerNorm(%1, %2, %3) {axis=-1}
      output %4 "y"
    })hone"},
    {"cuda.reduce", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      const %2 : i64[2] = [0, 2]
      %3 = Reduce(%1, %2) {kind="l2"}
      output %3 "y"
    })hone"},
    {"cuda.transpose", R"hone(graph {
      input %1 "x" : i64[2,7,3]
      %2 = Transpose(%1) {perm=[2,0,1]}
      output %2 "y"
    })hone"},
    {"cuda.expand", R"hone(graph {
      input %1 "x" : bool[7,1]
      const %2 : i64[3] = [2, 7, 3]
      %3 = Expand(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.concat", R"hone(graph {
      input %1 "x" : f16[2,3]
      input %2 "z" : f16[2,5]
      %3 = Concat(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.split", R"hone(graph {
      input %1 "x" : f32[2,8]
      const %2 : i64[2] = [3, 5]
      %3, %4 = Split(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.gather", R"hone(graph {
      input %1 "x" : f32[2,8]
      const %2 : i64[2] = [-1, 5]
      %3 = Gather(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.slice", R"hone(graph {
      input %1 "x" : f16[7,16]
      const %2 : i64[2] = [1, 8]
      const %3 : i64[2] = [6, 16]
      %4 = Slice(%1, %2, %3)
      output %4 "y"
    })hone"},
    {"cuda.slice", R"hone(graph {
      input %1 "x" : i64[3,7]
      const %2 : i64[1] = [-1]
      const %3 : i64[1] = [0]
      const %4 : i64[1] = [1]
      const %5 : i64[1] = [-2]
      %6 = Slice(%1, %2, %3, %4, %5)
      output %6 "y"
    })hone"},
    {"cuda.tile", R"hone(graph {
      input %1 "x" : i8[3,5]
      const %2 : i64[2] = [2, 16]
      %3 = Tile(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : f32[2,5,8]
      const %2 : i64[6] = [0, 1, 0, 0, 2, 0]
      input %3 "v" : f32[1]
      %4 = Pad(%1, %2, %3)
      output %4 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : bool[5,7]
      const %2 : i64[4] = [2, 3, -1, 1]
      %3 = Pad(%1, %2) {mode="edge"}
      output %3 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : bool[5,7]
      const %2 : i64[4] = [2, 3, -1, 1]
      %3 = Pad(%1, %2) {mode="wrap"}
      output %3 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : bool[5,7]
      const %2 : i64[4] = [2, 3, -1, 1]
      %3 = Pad(%1, %2) {mode="reflect"}
      output %3 "y"
    })hone"},
    {"cuda.resize", R"hone(graph {
      input %1 "x" : f16[1,5,7,16]
      const %2 : f32[4] = [1, 2, 2, 1]
      %3 = Resize(%1, _, %2) {coordinates="asymmetric"}
      output %3 "y"
    })hone"},
    {"cuda.resize", R"hone(graph {
      input %1 "x" : f32[1,3,5,7]
      const %2 : i64[4] = [1, 3, 8, 9]
      %3 = Resize(%1, _, _, %2) {mode="cubic"}
      output %3 "y"
    })hone"},
    {"cuda.conv_transpose", R"hone(graph {
      input %1 "x" : f32[1,4,5,2]
      const %2 : f32[2,4,1,2] = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8]
      const %3 : f32[4] = [1, 2, 3, 4]
      %4 = ConvTranspose(%1, %2, %3) {strides=[1,2], dilations=[1,1], pads=[0,0,0,0], output_padding=[0,1], channels_last=true}
      %5 = Pointwise(%4) {program="in0:f32; relu:f32(0)"}
      output %5 "y"
    })hone"},
    {"cuda.conv_transpose", R"hone(graph {
      input %1 "x" : f16[1,2,3,4,5]
      const %2 : f16[2,1,1,2,2] = [1, 2, 3, 4, 5, 6, 7, 8]
      %3 = ConvTranspose(%1, %2) {strides=[1,2,2], dilations=[1,1,1], pads=[0,0,0,0,1,0], output_padding=[0,1,0], groups=2}
      output %3 "y"
    })hone"},
    {"cuda.group_norm_columns", R"hone(graph {
      input %1 "x" : f32[2,3,5,48]
      input %2 "s" : f32[48]
      input %3 "b" : f32[48]
      %4 = GroupNorm(%1, %2, %3) {groups=3, channels_last=true}
      output %4 "y"
    })hone"},
    {"cuda.group_norm_columns", R"hone(graph {
      input %1 "x" : f32[2,3,5,48]
      %2 = GroupNorm(%1) {channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.group_norm", R"hone(graph {
      input %1 "x" : f16[2,12,3,5,2]
      %2 = GroupNorm(%1) {groups=3}
      output %2 "y"
    })hone"},
    {"cuda.group_norm", R"hone(graph {
      input %1 "x" : f32[2,3,5,40]
      %2 = GroupNorm(%1) {groups=2, channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.lrn", R"hone(graph {
      input %1 "x" : f32[2,7,3,5]
      %2 = Lrn(%1) {size=5}
      output %2 "y"
    })hone"},
    {"cuda.reduce", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      %2 = Reduce(%1) {kind="log_sum_exp"}
      output %2 "y"
    })hone"},
    {"cuda.reduce_integers", R"hone(graph {
      input %1 "x" : i64[2,7,3]
      const %2 : i64[1] = [1]
      %3 = Reduce(%1, %2) {kind="mean"}
      output %3 "y"
    })hone"},
    {"cuda.reduce_integers", R"hone(graph {
      input %1 "x" : bool[2,7,3]
      %2 = Reduce(%1) {kind="max"}
      output %2 "y"
    })hone"},
    {"cuda.arg_reduce", R"hone(graph {
      input %1 "x" : f16[7,3,50]
      %2 = ArgReduce(%1) {axis=2, select_last=true}
      output %2 "y"
    })hone"},
    {"cuda.arg_reduce", R"hone(graph {
      input %1 "x" : i64[7,3,50]
      %2 = ArgReduce(%1) {axis=1, smallest=true}
      output %2 "y"
    })hone"},
    {"cuda.top_k", R"hone(graph {
      input %1 "x" : f32[2,9000]
      const %2 : i64[1] = [100]
      %3, %4 = TopK(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.top_k", R"hone(graph {
      input %1 "x" : i8[2,9000]
      const %2 : i64[1] = [100]
      %3, %4 = TopK(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.top_k", R"hone(graph {
      input %1 "x" : u32[2,9000]
      const %2 : i64[1] = [100]
      %3, %4 = TopK(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.cumulate", R"hone(graph {
      input %1 "x" : bf16[3,77]
      const %2 : i64[1] = [1]
      %3 = Cumulate(%1, %2) {exclusive=true, reverse=true}
      output %3 "y"
    })hone"},
    {"cuda.cumulate", R"hone(graph {
      input %1 "x" : i64[77,33]
      const %2 : i64[1] = [0]
      %3 = Cumulate(%1, %2) {kind="prod"}
      output %3 "y"
    })hone"},
    {"cuda.gather_elements", R"hone(graph {
      input %1 "x" : f32[3,7]
      input %2 "i" : i64[3,4]
      %3 = GatherElements(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.gather_nd", R"hone(graph {
      input %1 "x" : bool[3,7,5]
      input %2 "i" : i32[3,4,1]
      %3 = GatherND(%1, %2) {batch_dims=1}
      output %3 "y"
    })hone"},
    {"cuda.scatter", R"hone(graph {
      input %1 "x" : f32[3,7]
      input %2 "i" : i64[3,4]
      input %3 "u" : f32[3,4]
      %4 = ScatterElements(%1, %2, %3) {axis=1}
      output %4 "y"
    })hone"},
    {"cuda.scatter", R"hone(graph {
      input %1 "x" : f16[9,7]
      input %2 "i" : i64[4,1]
      input %3 "u" : f16[4,7]
      %4 = ScatterND(%1, %2, %3) {reduction="add"}
      output %4 "y"
    })hone"},
    {"cuda.scatter", R"hone(graph {
      input %1 "x" : i64[9,7]
      input %2 "i" : i64[4,1]
      input %3 "u" : i64[4,7]
      %4 = ScatterND(%1, %2, %3) {reduction="add"}
      output %4 "y"
    })hone"},
};

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
    const auto engine =
        compile_graph(std::move(graph), {.target = "cuda", .cuda_arch = GetParam(), .verify_passes = true});
    ASSERT_TRUE(engine.ok()) << tactic << ": " << engine.status().message();
    EXPECT_EQ(engine->program.cuda_arch, GetParam());
    const auto& steps = engine->program.steps;
    EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [&](const Step& s) { return s.tactic == tactic; }))
        << tactic << ", not " << steps.back().tactic;
  }
};

TEST_P(Lowering, EveryKernelCompiles) {
  for (const Row& row : kRows) expect_tactic(parse(row.graph), row.tactic);
}

TEST_P(Lowering, ConvolutionsCompile) {
  for (const bool residual : {false, true}) {
    expect_tactic(conv_graph(1, residual), "cuda.conv");
    expect_tactic(conv_graph(4, residual), "cuda.conv_grouped");
  }
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

// A convolution as a problem: [n, size, size, cin] of f16 with square filters.
Problem half_conv(int64_t n, int64_t size, int64_t cin, int64_t cout, int64_t filter, int64_t stride) {
  const int64_t pad = filter / 2, out = (size + 2 * pad - filter) / stride + 1;
  const auto op = make_op("Conv", {{"strides", std::vector<int64_t>{stride, stride}},
                                   {"dilations", std::vector<int64_t>{1, 1}},
                                   {"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                                   {"channels_last", true}});
  EXPECT_TRUE(op.ok());
  const Tensor weights(DType::f16, {cout, cin, filter, filter});
  return {.op = *op,
          .inputs = {{DType::f16, Shape::of(Dims{n, size, size, cin})}, {DType::f16, Shape::of(weights.dims())}},
          .outputs = {{DType::f16, Shape::of(Dims{n, out, out, cout})}},
          .constants = {Tensor(), weights}};
}

TEST_P(Lowering, EveryTileOfHoppersTensorCoresCompiles) {
  const Machine machine{.cuda_arch = GetParam()};
  const std::pair<const char*, Problem> cases[] = {{"cuda.conv_wgmma", half_conv(64, 56, 192, 768, 3, 1)},
                                                   {"cuda.conv_wgmma", half_conv(1, 7, 512, 512, 3, 1)},
                                                   {"cuda.conv_cells_wgmma", half_conv(1, 224, 3, 64, 7, 2)}};
  for (const auto& [name, problem] : cases) {
    const Tactic& tactic = *find_tactic(name);
    if (machine.cuda_arch != "sm_90") {
      EXPECT_NE(tactic.supports(problem, machine), "") << name;
      continue;
    }
    ASSERT_EQ(tactic.supports(problem, machine), "") << name;
    for (int v = 0; v < tactic.variants(problem, machine); ++v) {
      const auto prepared = tactic.prepare(problem, v, machine);
      ASSERT_TRUE(prepared.ok()) << name << " " << v << ": " << prepared.status().message();
      EXPECT_TRUE(tactic.make(problem, prepared->packed, v, machine).ok());
    }
  }
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
