// Convolutions of bytes by filters of one pixel, for a GPU that need not be here.
#include "conv_1x1.h"

#include <gtest/gtest.h>

#include "cuda/nvrtc.h"

namespace hone {
namespace {

using testing::PixelCase;
using testing::requantised_1x1;

const Machine kHopper{.cuda_arch = "sm_90"};
const Tactic& tactic() { return *find_tactic("cuda.conv_1x1_wgmma"); }

std::string refusal(const PixelCase& c, const Machine& machine = kHopper) {
  return tactic().supports(requantised_1x1(c), machine);
}

TEST(Convolutions1x1, EveryVariantCompiles) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  for (const PixelCase& c : {PixelCase{128, 28, 28, 128, 512},
                             {1, 28, 28, 64, 512},
                             {128, 14, 14, 256, 1024},
                             {2, 7, 7, 512, 2048},
                             {4, 56, 56, 256, 512, 2},
                             {128, 28, 28, 512, 128, 1, false, false}}) {
    const Problem problem = requantised_1x1(c);
    ASSERT_EQ(tactic().supports(problem, kHopper), "");
    ASSERT_EQ(tactic().variants(problem, kHopper), 2);
    for (int v = 0; v < 2; ++v) {
      const auto prepared = tactic().prepare(problem, v, kHopper);
      ASSERT_TRUE(prepared.ok()) << prepared.status().message();
      EXPECT_TRUE(tactic().make(problem, prepared->packed, v, kHopper).ok());
      EXPECT_EQ(prepared->drops[1], true);
      EXPECT_EQ(prepared->drops.back(), !c.adds);
    }
  }
}

TEST(Convolutions1x1, OthersAreRefusedWithAReason) {
  EXPECT_EQ(refusal({1, 9, 9, 96, 64}), "its channels are neither 64 nor a multiple of 128");
  EXPECT_EQ(refusal({1, 9, 9, 64, 96}), "its results' channels are not a multiple of 64");
  EXPECT_EQ(refusal({1, 9, 9, 2048, 64}), "a tile's pixels do not fit in shared memory beside the weights");
  EXPECT_EQ(refusal({1, 9, 9, 64, 64}, {.cuda_arch = "sm_120"}), "sm_120 is not sm_90");
  Problem problem = requantised_1x1({1, 9, 9, 64, 64});
  problem.constants[3] = Tensor();
  EXPECT_EQ(tactic().supports(problem, kHopper), "a bias or scale that is not constant");
}

}  // namespace
}  // namespace hone
