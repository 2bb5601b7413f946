// cuDNN's convolutions with every epilogue that is given to it, on the GPU that is here. Skipped without one.
#include "cuda/cudnn.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backends/gpu_timing.h"
#include "fused_problem.h"
#include "gpu/candidate.h"
#include "gpu/library.h"
#include "small_network.h"

namespace hone {
namespace {

struct Case {
  int64_t cin, cout, filter, stride, pad, end_pad, groups = 1;
};

struct Epilogue {
  bool bias, residual, relu;
};

Problem problem_of(DType type, const Case& c, const Epilogue& e) {
  constexpr int64_t kSize = 15;
  const int64_t out = (kSize + c.pad + c.end_pad - c.filter) / c.stride + 1;
  const bool plain = !e.residual && !e.relu;
  return testing::fused_problem(fmt::format(
      R"hone(graph {{
    input %1 "x" : {0}[2,{1},{1},{2}]
    input %2 "w" : {0}[{3},{4},{5},{5}]
    input %3 "bias" : {0}[{3}]
    input %4 "r" : {0}[2,{6},{6},{3}]
    %5 = Conv(%1, %2{7}) {{strides=[{8},{8}], dilations=[1,1], pads=[{9},{9},{10},{10}], groups={11},
                           channels_last=true}}
    {12}
    output %{13} "y"
  }})hone",
      name(type), kSize, c.cin, c.cout, c.cin / c.groups, c.filter, out, e.bias ? ", %3" : "", c.stride, c.pad,
      c.end_pad, c.groups,
      plain ? ""
            : fmt::format(R"hone(%6 = Pointwise(%5{}) {{program="{}"}})hone", e.residual ? ", %4" : "",
                          program_of(type, e.residual, e.relu ? "relu" : "")),
      plain ? 5 : 6));
}

constexpr Case kCases[] = {{32, 48, 1, 1, 0, 0}, {32, 64, 3, 1, 1, 1},     {32, 32, 3, 2, 1, 1},   {64, 64, 3, 2, 0, 1},
                           {32, 16, 5, 1, 2, 2}, {32, 32, 3, 1, 1, 1, 32}, {64, 64, 3, 1, 1, 1, 4}};

using GpuCudnn = WithLibrary<::testing::TestWithParam<DType>, cuda::cudnn_version>;

// Each plan twice: the same bits, and right ones.
TEST_P(GpuCudnn, EveryPlanIsRightWithEveryEpilogue) {
  const DType type = GetParam();
  cpu::ThreadPool pool(1);
  int checked = 0;
  for (const Case& c : kCases)
    for (const Epilogue& e :
         {Epilogue{false, false, false}, {true, false, true}, {true, true, true}, {true, true, false}}) {
      Problem problem = problem_of(type, c, e);
      const Problem in_f32 = problem_of(DType::f32, c, e);
      Tensors inputs, exact;
      for (size_t i = 0; i < problem.inputs.size(); ++i) {
        inputs.push_back(
            converted(testing::random_tensor(*problem.inputs[i].shape.concrete(), static_cast<unsigned>(i + 1)), type));
        exact.push_back(converted(inputs.back(), DType::f32));
      }
      problem.constants = {Tensor(), inputs[1]};
      const auto want = in_f32.op.evaluate({exact, 1});
      ASSERT_TRUE(want.ok()) << want.status().message();
      auto box = GpuSandbox::create(problem, 0, inputs);
      ASSERT_TRUE(box.ok()) << box.status().message();
      for (const char* tactic_name : {"cuda.conv_cudnn", "cuda.conv_cudnn_tf32"}) {
        const Tactic& tactic = *find_tactic(tactic_name);
        const bool tf32 = tactic.name.ends_with("tf32");
        if (tf32 && type != DType::f32) continue;
        ASSERT_EQ(tactic.supports(problem, machine_), "");
        const std::string what =
            fmt::format("{} {}x{} of {} to {}, stride {}, groups {}, bias {}, residual {}, relu {}", tactic.name,
                        c.filter, c.filter, c.cin, c.cout, c.stride, c.groups, e.bias, e.residual, e.relu);
        int plans = 0;
        for (int v = 0; v < tactic.variants(problem, machine_); ++v) {
          const auto prepared = tactic.prepare(problem, v, machine_);
          if (prepared.status().code() == Code::unsupported) break;
          ASSERT_TRUE(prepared.ok()) << what << ": " << prepared.status().message();
          const auto kernel = tactic.make(problem, prepared->packed, v, machine_);
          ASSERT_TRUE(kernel.ok()) << what << ": " << prepared->algorithm << ": " << kernel.status().message();
          const auto got = (*box)->run(**kernel, *prepared, pool), again = (*box)->run(**kernel, *prepared, pool);
          ASSERT_TRUE(got.ok() && again.ok()) << what << ": " << prepared->algorithm << ": " << got.status().message();
          EXPECT_EQ(std::memcmp((*got)[0].raw(), (*again)[0].raw(), (*got)[0].bytes()), 0)
              << what << ": " << prepared->algorithm;
          const double unit = type == DType::f16 ? 0x1p-11 : type == DType::bf16 ? 0x1p-8 : 0x1p-24;
          // Sums of products of at most 1, each rounded, or cut off to TF32.
          const auto terms = static_cast<double>(c.filter * c.filter * c.cin / c.groups);
          const double sums = terms * (tf32 ? 0x1p-9 : terms * 0x1p-24);
          int wrong = 0;
          for (int64_t i = 0; i < (*got)[0].count(); ++i) {
            const double right = (*want)[0].at(i);
            wrong += !(std::fabs((*got)[0].at(i) - right) <= 1.01 * unit * std::fabs(right) + sums);
          }
          EXPECT_EQ(wrong, 0) << what << ": " << prepared->algorithm;
          ++plans;
          // A graph of launches: it can be recorded.
          if (v > 0) continue;
          const auto us = (*box)->time_us(**kernel, *prepared, pool);
          EXPECT_TRUE(us.ok()) << what << ": " << us.status().message();
        }
        checked += plans;
      }
    }
  EXPECT_GT(checked, 0);
}

INSTANTIATE_TEST_SUITE_P(Types, GpuCudnn, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace hone
