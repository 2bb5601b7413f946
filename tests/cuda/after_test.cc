// Elementwise work that is joined to attention and norms, for GPUs that need not be here.
#include <gtest/gtest.h>

#include <algorithm>

#include "backends/gpu_fusion.h"
#include "byte_results.h"
#include "cuda/nvrtc.h"
#include "ops/fused.h"
#include "tactics/cuda/after.h"
#include "tactics/cuda/kernel.h"

namespace hone {
namespace {

using namespace testing;

std::vector<std::string> names_of(const Problem& problem, const Machine& machine) {
  std::vector<std::string> names;
  for (const Tactic& tactic : tactic_table())
    if (tactic.backend == Backend::cuda && tactic.supports(problem, machine).empty()) names.emplace_back(tactic.name);
  return names;
}

class After : public ::testing::TestWithParam<const char*> {
 protected:
  void expect_compiles(const Problem& problem) {
    const Machine machine{.cuda_arch = GetParam()};
    for (const std::string& name : names_of(problem, machine)) {
      const Tactic& tactic = *find_tactic(name);
      for (int v = 0; v < tactic.variants(problem, machine); ++v) {
        const auto prepared = tactic.prepare(problem, v, machine);
        ASSERT_TRUE(prepared.ok()) << name << " " << v << ": " << prepared.status().message();
        EXPECT_TRUE(tactic.make(problem, prepared->packed, v, machine).ok());
      }
    }
  }
};

TEST_P(After, BytesOfAttentionCompile) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  for (const AttentionForm& form : kAttentionForms)
    expect_compiles(attention_in_bytes(form, DType::f16, DType::i8, 40));
  expect_compiles(attention_in_bytes(kAttentionForms[1], DType::bf16, DType::f8e4m3fn, 40));
  expect_compiles(attention_in_bytes(kAttentionForms[1], DType::f32, DType::i8, 40));
}

TEST_P(After, BytesOfNormsCompile) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  expect_compiles(norm_in_bytes(37, 776, false, DType::f16, DType::i8));
  expect_compiles(norm_in_bytes(37, 776, true, DType::bf16, DType::f8e4m3fn));
  expect_compiles(norm_in_bytes(3, 4096, true, DType::f32, DType::i8));
}

INSTANTIATE_TEST_SUITE_P(Architectures, After, ::testing::Values("sm_80", "sm_90", "sm_120"),
                         [](const auto& info) { return std::string(info.param); });

TEST(JoinedWork, EveryKernelOfAttentionStoresBytes) {
  using Names = std::vector<std::string>;
  const auto names = [](size_t form, DType from) {
    return names_of(attention_in_bytes(kAttentionForms[form], from, DType::i8, 40), {.cuda_arch = "sm_90"});
  };
  const Names plain{"cuda.attention_tiles", "cuda.attention"};
  EXPECT_EQ(names(0, DType::f32), plain);
  EXPECT_EQ(names(4, DType::f16), plain);
  for (const size_t form : {0, 1, 2}) {
    Names all = names(form, DType::f16);
    std::ranges::sort(all);
    EXPECT_EQ(all, (Names{"cuda.attention", "cuda.attention_mma", "cuda.attention_tiles", "cuda.attention_wgmma"}));
  }
}

// What is left of a graph of an op and elementwise work when it is fused for sm_90.
size_t nodes_left(const std::string& text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  if (!graph.ok()) return 0;
  fuse_for_gpu(*graph, {.cuda_arch = "sm_90"});
  EXPECT_TRUE(verify(*graph).ok());
  const size_t left = graph->order().size();
  fuse_for_gpu(*graph, {.cuda_arch = "sm_90"});
  EXPECT_EQ(graph->order().size(), left);
  return left;
}

std::string attended(const std::string& program, const std::string& more_inputs, const std::string& operands) {
  return "graph {\ninput %1 \"x\" : f16[1,70,3,2,64]\n" + more_inputs +
         "%5 = Attention(%1) {layout=\"packed\"}\n%6 = Pointwise(%5" + operands + ") {program=\"" + program +
         "\"}\noutput %6 \"y\"\n}";
}

TEST(JoinedWork, WhatQuantisesAttentionIsJoined) {
  EXPECT_EQ(nodes_left(attended(quantising_text(DType::f16, DType::i8, "constant:f32(40)"), "", "")), 1u);
  EXPECT_EQ(nodes_left(attended("in0:f16; relu:f16(0)", "", "")), 1u);
  // What reads more, or makes larger elements, stays a step: not all kernels could do it.
  EXPECT_EQ(nodes_left(attended("in0:f16; in1:f16; add:f16(0,1)", "input %2 \"r\" : f16[1,70,2,64]\n", ", %2")), 2u);
  EXPECT_EQ(nodes_left(attended("in0:f16; cast:f32(0)", "", "")), 2u);
}

TEST(JoinedWork, StepsOfColumnsAreJoinedToNorms) {
  const auto norm = [](const std::string& steps) {
    return "graph {\ninput %1 \"x\" : f32[8,8]\ninput %2 \"steps\" : f32[" + steps +
           "]\n%3 = LayerNorm(%1)\n%4 = Pointwise(%3, %2) {program=\"in0:f32; in1:f32; mul:f32(0,1)\"}\n" +
           "output %4 \"y\"\n}";
  };
  EXPECT_EQ(nodes_left(norm("8")), 1u);
  EXPECT_EQ(nodes_left(norm("1,8")), 1u);
  EXPECT_EQ(nodes_left(norm("8,1")), 2u);
  EXPECT_EQ(nodes_left(norm("8,8")), 2u);
}

TEST(JoinedWork, FunctionsAreShortAheadOfBytesAlone) {
  EXPECT_TRUE(cuda::has_short_results(function_in_bytes("gelu_erf")));
  EXPECT_TRUE(cuda::has_short_results(attention_in_bytes(kAttentionForms[0], DType::f32, DType::i8, 40)));
  const auto ends_in = [](const char* program, DType type) {
    return cuda::has_short_results({.op = *make_op("Pointwise", {{"program", std::string(program)}}),
                                    .inputs = {{DType::f32, Shape::of(Dims{8})}},
                                    .outputs = {{type, Shape::of(Dims{8})}}});
  };
  EXPECT_TRUE(ends_in("in0:f32; exp:f32(0); cast:f16(1)", DType::f16));
  EXPECT_FALSE(ends_in("in0:f32; exp:f32(0)", DType::f32));
  EXPECT_FALSE(ends_in("in0:f32; exp:f32(0); cast:i8(1)", DType::i8));
}

TEST(JoinedWork, TheOpAloneHasItsOwnInputs) {
  const Problem problem = attention_in_bytes(kAttentionForms[1], DType::f16, DType::i8, 40);
  const cuda::AfterView view = cuda::view_after(problem);
  EXPECT_EQ(view.plain.op.name(), "Attention");
  ASSERT_EQ(view.plain.inputs.size(), 4u);
  EXPECT_FALSE(view.plain.inputs[1].defined());
  EXPECT_EQ(view.plain.inputs[3], problem.inputs[1]);
  EXPECT_EQ(view.plain.outputs[0].dtype, DType::f16);
  EXPECT_EQ(view.operands, std::vector<int>{-1});
  const cuda::AfterView norm = cuda::view_after(norm_in_bytes(3, 8, false, DType::f32, DType::i8));
  EXPECT_EQ(norm.operands, (std::vector<int>{-1, 2}));
}

}  // namespace
}  // namespace hone
