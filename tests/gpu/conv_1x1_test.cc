// Convolutions of bytes by filters of one pixel on the GPU that is here. Skipped without one.
#include "conv_1x1.h"

#include <gtest/gtest.h>

#include "gpu/candidate.h"

namespace hone {
namespace {

using testing::PixelCase;

class GpuConvolutions1x1 : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
    machine_ = {.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
    if (machine_.cuda_arch != "sm_90") GTEST_SKIP() << machine_.cuda_arch;
  }
  std::unique_ptr<GpuSandbox> sandbox(const Problem& problem) {
    Tensors values = problem.constants;
    for (size_t i = 0; i < values.size(); ++i)
      if (!values[i].defined())
        values[i] =
            testing::random_of(DType::i8, *problem.inputs[i].shape.concrete(), 5 + static_cast<unsigned>(i), 127);
    auto box = GpuSandbox::create(problem, 0, values);
    EXPECT_TRUE(box.ok()) << box.status().message();
    return std::move(*box);
  }

  // Of all others, or of the first.
  void expect_bits_of_others(std::span<const PixelCase> cases, bool all_others);

  Machine machine_;
  cpu::ThreadPool pool_{1};
};

std::string text_of(const PixelCase& c) {
  return fmt::format("{} x {} x {} x {} to {}, steps of {}{}", c.n, c.h, c.w, c.channels, c.out, c.stride,
                     c.adds ? ", added to" : "");
}

void GpuConvolutions1x1::expect_bits_of_others(std::span<const PixelCase> cases, bool all_others) {
  for (const PixelCase& c : cases) {
    const Problem problem = testing::requantised_1x1(c);
    const auto box = sandbox(problem);
    Tensor want;
    bool found = false;
    for (Candidate& candidate : candidates_of(problem, machine_)) {
      const bool own = candidate.tactic.name == "cuda.conv_1x1_wgmma";
      if (!all_others && !own && want.defined()) continue;
      const auto got = candidate.run(problem, machine_, *box, pool_);
      ASSERT_TRUE(got.ok()) << got.status().message();
      found = found || (own && want.defined());
      if (!want.defined()) want = (*got)[0];
      int64_t wrong = 0;
      for (int64_t i = 0; i < want.count(); ++i) wrong += want.data<int8_t>()[i] != (*got)[0].data<int8_t>()[i];
      EXPECT_EQ(wrong, 0) << "of " << want.count() << ": " << text_of(c) << ", " << candidate.tactic.name << "/"
                          << candidate.variant;
    }
    EXPECT_TRUE(found) << text_of(c);
  }
}

// The last has a block's tiles go through all slots and begin again.
TEST_F(GpuConvolutions1x1, SmallOnesGiveTheBitsOfOtherKernels) {
  expect_bits_of_others(std::vector<PixelCase>{{1, 5, 7, 64, 64},
                                               {3, 19, 17, 64, 192},
                                               {2, 9, 11, 128, 128, 1, false},
                                               {1, 1, 1, 128, 512},
                                               {3, 15, 17, 512, 256, 1, false, false},
                                               {3, 21, 23, 256, 512, 2},
                                               {130, 29, 29, 64, 64}},
                        false);
}

TEST_F(GpuConvolutions1x1, LargeOnesGiveTheBitsOfOtherKernels) {
  expect_bits_of_others(std::vector<PixelCase>{{5, 23, 29, 256, 1024, 1, true, false},
                                               {7, 21, 23, 256, 512, 2},
                                               {130, 27, 29, 128, 512},
                                               {128, 56, 56, 256, 64, 1, false},
                                               {128, 28, 28, 512, 128, 1, false},
                                               {130, 14, 15, 256, 1024},
                                               {129, 55, 57, 64, 256}},
                        true);
}

// Many runs behind each other, in which groups get far ahead of others: a fault or a hang shows here.
TEST_F(GpuConvolutions1x1, RunManyTimes) {
  for (const PixelCase& c : {PixelCase{128, 56, 56, 256, 64, 1, false},
                             {128, 28, 28, 512, 128, 1, false},
                             {128, 28, 28, 128, 512},
                             {128, 14, 14, 1024, 256, 1, false},
                             {1, 28, 28, 128, 512}}) {
    const Problem problem = testing::requantised_1x1(c);
    const auto box = sandbox(problem);
    for (Candidate& candidate : candidates_of(problem, machine_)) {
      if (candidate.tactic.name != "cuda.conv_1x1_wgmma") continue;
      const auto ready = candidate.prepared.get();
      ASSERT_TRUE(ready.ok()) << ready.status().message();
      const auto kernel = candidate.tactic.make(problem, ready->packed, candidate.variant, machine_);
      ASSERT_TRUE(kernel.ok()) << kernel.status().message();
      double least = 1e18;
      for (int turn = 0; turn < 50; ++turn) {
        const auto us = box->time_us(**kernel, *ready, pool_);
        ASSERT_TRUE(us.ok()) << text_of(c) << ", variant " << candidate.variant << ": " << us.status().message();
        least = std::min(least, *us);
      }
      std::printf("%s, variant %d: %.1f us\n", text_of(c).c_str(), candidate.variant, least);
    }
  }
}

}  // namespace
}  // namespace hone
