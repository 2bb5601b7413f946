// Kernels for convolutions with little to share among a GPU's multiprocessors, on the GPU that is here: what they give
// is what the plainer kernel for the same problem gives, and the same bits in every run. Skipped without one.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "bottleneck.h"
#include "gpu/candidate.h"
#include "gpu/convolutions.h"

namespace hone {
namespace {

struct Kernel {
  const char *tactic, *plainer;
  std::vector<ConvCase> cases;
};

const Kernel kRing{"cuda.conv_halo_ring_wgmma",
                   "cuda.conv_wgmma",
                   {{8, 14, 14, 256, 256, 3, 3, 1, 1, 1, 1},
                    {8, 7, 7, 512, 512, 3, 3, 1, 1, 1, 1},
                    {3, 13, 14, 256, 232, 3, 3, 1, 1, 1, 1},
                    {4, 27, 23, 256, 192, 3, 3, 2, 1, 1, 1},
                    {8, 28, 28, 128, 128, 2, 2, 2, 1, 0, 1},
                    {4, 9, 60, 384, 128, 5, 5, 1, 1, 2, 1}}};
const Kernel kDepthwise{"cuda.conv_depthwise_mma",
                        "cuda.conv_depthwise",
                        {{8, 14, 14, 672, 672, 5, 5, 1, 1, 2, 672},
                         {8, 7, 7, 1152, 1152, 5, 5, 1, 1, 2, 1152},
                         {2, 56, 57, 64, 64, 5, 5, 1, 1, 2, 64},
                         {3, 15, 13, 40, 40, 7, 7, 2, 1, 3, 40},
                         {2, 20, 19, 48, 48, 4, 4, 1, 2, 3, 48}}};

const Kernel kHalo{"cuda.conv_halo_wgmma", "cuda.conv_wgmma", {{2, 56, 56, 24, 144, 1, 1, 1, 1, 0, 1}}};

class GpuFewTiles : public ::testing::TestWithParam<std::pair<const Kernel*, DType>> {};

// Both round sums in fp32, which differ in their order, to the nearest.
TEST_P(GpuFewTiles, GiveWhatPlainerKernelsGive) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  const Machine machine{.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  if (machine.cuda_arch != "sm_90") GTEST_SKIP() << machine.cuda_arch;
  cpu::ThreadPool pool(1);
  const auto& [kernel, type] = GetParam();
  for (const ConvCase& c : kernel->cases) {
    const int64_t depth = c.cin / c.groups * c.kh * c.kw,
                  oh = (c.h + 2 * c.pad - c.dilation * (c.kh - 1) - 1) / c.stride + 1,
                  ow = (c.w + 2 * c.pad - c.dilation * (c.kw - 1) - 1) / c.stride + 1;
    const bool bytes = type == DType::i8;
    const Tensor x = testing::random_of(type, {c.n, c.h, c.w, c.cin}, 1, bytes ? 127 : 1),
                 w = testing::random_of(type, {c.cout, c.cin / c.groups, c.kh, c.kw}, 2,
                                        bytes ? 127 : std::sqrt(3.0 / static_cast<double>(depth)));
    const Problem problem{.op = *op_of(c),
                          .inputs = {{type, Shape::of(x.dims())}, {type, Shape::of(w.dims())}},
                          .outputs = {{bytes ? DType::i32 : type, Shape::of(Dims{c.n, oh, ow, c.cout})}},
                          .constants = {Tensor(), w}};
    auto box = GpuSandbox::create(problem, 0, Tensors{x, w});
    ASSERT_TRUE(box.ok()) << box.status().message();
    std::vector<Candidate> candidates;
    for (const char* name : {kernel->plainer, kernel->tactic}) {
      const Tactic& tactic = *find_tactic(name);
      ASSERT_EQ(tactic.supports(problem, machine), "") << name;
      for (int v = 0; v < (name == kernel->tactic ? tactic.variants(problem, machine) : 1); ++v)
        candidates.push_back({tactic, v, std::async(std::launch::async, tactic.prepare, problem, v, machine)});
    }
    const double unit = bytes ? 0 : type == DType::f16 ? 0x1p-10 : 0x1p-7;
    Tensor want;
    for (Candidate& candidate : candidates) {
      const auto ready = candidate.prepared.get();
      ASSERT_TRUE(ready.ok()) << ready.status().message();
      const auto made = candidate.tactic.make(problem, ready->packed, candidate.variant, machine);
      ASSERT_TRUE(made.ok()) << made.status().message();
      const auto got = (*box)->run(**made, *ready, pool);
      ASSERT_TRUE(got.ok()) << got.status().message();
      // Many runs behind each other, in which groups get ahead of others.
      const auto us = (*box)->time_us(**made, *ready, pool);
      ASSERT_TRUE(us.ok()) << us.status().message();
      const auto again = (*box)->run(**made, *ready, pool);
      ASSERT_TRUE(again.ok()) << again.status().message();
      EXPECT_EQ(std::memcmp((*got)[0].raw(), (*again)[0].raw(), (*got)[0].bytes()), 0);
      if (!want.defined()) want = (*got)[0];
      int64_t wrong = 0;
      for (int64_t i = 0; i < want.count(); ++i)
        wrong += !(std::fabs((*got)[0].at(i) - want.at(i)) <= unit * (std::fabs(want.at(i)) + 0.01));
      EXPECT_EQ(wrong, 0) << "of " << want.count() << ": " << candidate.tactic.name << "/" << candidate.variant << ", "
                          << c.h << " x " << c.w << " x " << c.cin;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, GpuFewTiles,
                         ::testing::Values(std::pair{&kRing, DType::f16}, std::pair{&kRing, DType::bf16},
                                           std::pair{&kRing, DType::i8}, std::pair{&kHalo, DType::f16},
                                           std::pair{&kDepthwise, DType::f16}, std::pair{&kDepthwise, DType::bf16}),
                         [](const auto& info) {
                           return std::string(info.param.first->tactic).substr(5) + "_" +
                                  std::string(name(info.param.second));
                         });

}  // namespace
}  // namespace hone
