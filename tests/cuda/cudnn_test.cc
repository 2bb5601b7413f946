// What can be checked of cuDNN's convolutions without a GPU: which problems are refused and why, and that an engine
// knows the version that it was built with.
#include "cuda/cudnn.h"

#include <gtest/gtest.h>

#include "fused_problem.h"
#include "tactics/tactic.h"

namespace hone {
namespace {

const Machine kHopper{.cuda_arch = "sm_90", .cuda_device = 0};

// y = Conv(x, w, b) of `type`, and a program of it and r, where there is one.
Problem conv_problem(const std::string& type, const std::string& program = {}) {
  return testing::fused_problem(fmt::format(
      R"hone(graph {{
    input %1 "x" : {0}[2,9,9,16]
    input %2 "w" : {0}[24,16,3,3]
    input %3 "b" : {0}[24]
    input %4 "r" : {0}[2,9,9,24]
    %5 = Conv(%1, %2, %3) {{strides=[1,1], dilations=[1,1], pads=[1,1,1,1], channels_last=true}}
    {1}
    output %{2} "y"
  }})hone",
      type, program.empty() ? "" : fmt::format(R"hone(%6 = Pointwise(%5, %4) {{program="{}"}})hone", program),
      program.empty() ? 5 : 6));
}

class Cudnn : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto version = cuda::cudnn_version(); !version.ok()) GTEST_SKIP() << version.status().message();
  }
  static std::string refusal(const Problem& problem, const char* tactic = "cuda.conv_cudnn",
                             const Machine& machine = kHopper) {
    return find_tactic(tactic)->supports(problem, machine);
  }
};

TEST_F(Cudnn, TakesEpiloguesThatItHasFastKernelsFor) {
  const std::string sum = "in0:f16; in1:f16; cast:f32(0); cast:f32(1); add:f32(2,3); ";
  EXPECT_EQ(refusal(conv_problem("f16")), "");
  EXPECT_EQ(refusal(conv_problem("bf16")), "");
  EXPECT_EQ(refusal(conv_problem("f16", sum + "cast:f16(4)")), "");
  EXPECT_EQ(refusal(conv_problem("f16", sum + "relu:f32(4); cast:f16(5)")), "");
  const std::string lacks = "an epilogue that cuDNN has no fast kernel for";
  EXPECT_EQ(refusal(conv_problem("f16", sum + "silu:f32(4); cast:f16(5)")), lacks);
  EXPECT_EQ(refusal(conv_problem("f16", sum + "gelu_tanh:f32(4); cast:f16(5)")), lacks);
  EXPECT_EQ(refusal(conv_problem("f16",
                                 "in0:f16; in1:f16; cast:f32(0); relu:f32(2); cast:f32(1); add:f32(3,4); "
                                 "cast:f16(5)")),
            lacks);
}

TEST_F(Cudnn, RefusesWhatItCannotDoInTheTypesAllowed) {
  EXPECT_EQ(refusal(conv_problem("f32")), "");
  EXPECT_NE(refusal(conv_problem("f32"), "cuda.conv_cudnn_tf32").find("TF32"), std::string::npos);
  Machine tf32 = kHopper;
  tf32.tf32 = true;
  EXPECT_EQ(refusal(conv_problem("f32"), "cuda.conv_cudnn_tf32", tf32), "");
  EXPECT_EQ(refusal(conv_problem("f16"), "cuda.conv_cudnn_tf32", tf32), "f16 elements");
  Problem mixed = conv_problem("f16");
  mixed.inputs[2].dtype = DType::f32;
  EXPECT_EQ(refusal(mixed), "what is added is of another type than the result");
  EXPECT_EQ(refusal(conv_problem("f16"), "cuda.conv_cudnn", {.cuda_arch = "sm_90"}),
            "the GPU is not here to be asked for plans");
}

// An engine holds the version, the workspace, the engine and its knobs.
TEST_F(Cudnn, AnEngineKnowsTheVersionItWasBuiltWith) {
  const Problem problem = conv_problem("f16");
  const Tactic& tactic = *find_tactic("cuda.conv_cudnn");
  const auto here = *cuda::cudnn_version();
  const auto refused = [&](std::vector<int64_t> words) {
    const Tensor packed[] = {Tensor::vector(words), Tensor(DType::f16, {24, 3, 3, 16})};
    return tactic.make(problem, std::span(packed), 0, kHopper).status();
  };
  std::vector<int64_t> held{here.major, here.minor + 1, here.patch, 1000, 41, 2, 5};
  const Status other = refused(held);
  EXPECT_EQ(other.code(), Code::device);
  EXPECT_EQ(other.message(), fmt::format("the engine uses cuDNN {}.{}.{}, here is {}: build it again", here.major,
                                         here.minor + 1, here.patch, here.text()));
  --held[1];
  for (const int64_t bytes : {int64_t{-1}, int64_t{1} << 40}) {
    held[3] = bytes;
    EXPECT_NE(refused(held).message().find("a workspace of"), std::string::npos) << bytes;
  }
  EXPECT_EQ(refused({here.major, here.minor, here.patch}).message(), "a convolution without its plan");
  EXPECT_EQ(refused({here.major, here.minor, here.patch, 0, 41, 2}).message(), "a convolution without its plan");
  EXPECT_EQ(tactic.make(problem, {}, 0, kHopper).status().code(), Code::invalid);
  const Tensor small[] = {Tensor::vector(std::vector<int64_t>{here.major, here.minor, here.patch, 0, 41}),
                          Tensor(DType::f16, {24})};
  EXPECT_EQ(tactic.make(problem, std::span(small), 0, kHopper).status().message(), "packed weights of another size");
}

TEST(CudnnPlans, AreDescribedInTheLibrarysNumbers) {
  EXPECT_EQ(describe(cuda::ConvolutionPlan{.engine = 0}), "engine 0");
  EXPECT_EQ(describe(cuda::ConvolutionPlan{.engine = 41, .knobs = {{2, 5}, {14, 3}}}), "engine 41, knobs 2=5 14=3");
}

}  // namespace
}  // namespace hone
