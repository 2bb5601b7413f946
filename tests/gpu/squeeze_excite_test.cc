// Squeeze and excite as one kernel on the GPU that is here, against the reference. Skipped without one.
#include <gtest/gtest.h>

#include <cmath>

#include "backends/blocks.h"
#include "backends/gpu_fusion.h"
#include "gpu/candidate.h"
#include "passes/pipeline.h"
#include "squeeze_excite.h"

namespace hone {
namespace {

using testing::SqueezeExciteCase;

class GpuSqueezeExcite : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
    machine_ = {.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  }
  Machine machine_;
  cpu::ThreadPool pool_{1};
};

// The reference rounds as the kernel does: the mean, what is between the layers and what scales the channels. Another
// order of sums gives some of these their other neighbour, which moves products of numbers up to 1 by a unit or two.
void check(const SqueezeExciteCase& c, const Machine& machine, cpu::ThreadPool& pool) {
  Graph graph = testing::squeeze_excite(c);
  ASSERT_TRUE(fuse(graph).ok());
  fuse_for_gpu(graph, machine);
  const Problem problem = block_problems(graph, machine).at(0);
  const Tensor x = testing::random_of(c.type, {c.n, c.h, c.w, c.channels}, 77);
  const Tensor want = (*interpret(graph, Tensors{x}))[0];
  Tensors values = problem.constants;
  values[0] = x;
  auto box = GpuSandbox::create(problem, 0, values);
  ASSERT_TRUE(box.ok()) << box.status().message();
  const double unit = c.type == DType::f32 ? 0x1p-20 : c.type == DType::f16 ? 0x1p-10 : 0x1p-7;
  for (Candidate& candidate : candidates_of(problem, machine)) {
    const auto got = candidate.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << got.status().message();
    int64_t wrong = 0;
    double largest = 0;
    for (int64_t i = 0; i < want.count(); ++i) {
      largest = std::max(largest, std::fabs(want.at(i)));
      wrong += !(std::fabs((*got)[0].at(i) - want.at(i)) <= 2 * unit);
    }
    EXPECT_EQ(wrong, 0) << "of " << want.count() << ": " << c.channels << " channels of " << name(c.type)
                        << ", variant " << candidate.variant;
    EXPECT_GT(largest, 0.3);
  }
}

TEST_F(GpuSqueezeExcite, SmallOnesAreRight) {
  for (const SqueezeExciteCase& c : {SqueezeExciteCase{},
                                     {.n = 1, .h = 1, .w = 2, .channels = 8, .hidden = 1},
                                     {.n = 5, .h = 5, .w = 5, .channels = 72, .hidden = 24, .type = DType::bf16},
                                     {.n = 2, .h = 5, .w = 7, .channels = 40, .hidden = 10, .type = DType::f32}})
    check(c, machine_, pool_);
}

TEST_F(GpuSqueezeExcite, IsRight) {
  for (const SqueezeExciteCase& c :
       {SqueezeExciteCase{.n = 3, .h = 31, .w = 29, .channels = 32, .hidden = 8},
        {.n = 1, .h = 14, .w = 14, .channels = 672, .hidden = 28},
        {.n = 1, .h = 7, .w = 7, .channels = 960, .hidden = 240, .activation = "relu:f32({})"},
        {.n = 2, .h = 7, .w = 7, .channels = 1152, .hidden = 48, .gate_first = true},
        {.n = 1, .h = 2, .w = 3, .channels = 2048, .hidden = 512},
        {.n = 40, .h = 5, .w = 5, .channels = 72, .hidden = 24, .type = DType::bf16},
        {.n = 5, .h = 11, .w = 13, .channels = 120, .hidden = 30, .type = DType::f32},
        {.n = 1, .h = 3, .w = 3, .channels = 2048, .hidden = 512, .type = DType::f32}})
    check(c, machine_, pool_);
}

}  // namespace
}  // namespace hone
