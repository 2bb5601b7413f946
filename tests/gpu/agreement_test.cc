// A kernel that computes something else is found before it is timed. Skipped without a GPU.
#include "backends/agreement.h"

#include <gtest/gtest.h>

#include "backends/gpu_timing.h"
#include "backends/random_tensor.h"
#include "gpu/candidate.h"
#include "ops/conv.h"

namespace hone {
namespace {

TEST(GpuAgreement, FindsAnotherConvolution) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  const Machine machine{.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  const TensorType image{DType::f16, Shape::of(Dims{2, 30, 30, 64})}, filter{DType::f16, Shape::of(Dims{64, 64, 3, 3})};
  const Tensor weights = random_tensor(filter);
  Problem problem{.op = *make_op("Conv", {{"strides", std::vector<int64_t>{1, 1}},
                                          {"dilations", std::vector<int64_t>{1, 1}},
                                          {"pads", std::vector<int64_t>{1, 1, 1, 1}},
                                          {"channels_last", true}}),
                  .inputs = {image, filter},
                  .outputs = {image},
                  .constants = {Tensor(), weights}};
  const Tensors inputs{random_tensor(image), weights};
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  const auto sample = [&](const Tactic& tactic, int variant) {
    const auto prepared = tactic.prepare(problem, variant, machine);
    EXPECT_TRUE(prepared.ok()) << prepared.status().message();
    const auto kernel = tactic.make(problem, prepared->packed, variant, machine);
    EXPECT_TRUE(kernel.ok()) << kernel.status().message();
    const auto sampled = (*box)->sample(**kernel, *prepared, pool);
    EXPECT_TRUE(sampled.ok()) << sampled.status().message();
    return *sampled;
  };
  const Tactic* witness = witness_of(problem, machine);
  ASSERT_NE(witness, nullptr);
  const Tensor want = sample(*witness, 0);
  EXPECT_EQ(want.count(), 64 * 256);
  for (const Tactic& tactic : tactic_table()) {
    if (tactic.backend != Backend::cuda || !tactic.supports(problem, machine).empty()) continue;
    for (int v = 0; v < tactic.variants(problem, machine); ++v) {
      if (is_missing(tactic, problem, v, machine)) continue;
      EXPECT_TRUE(agree(problem, machine, want, sample(tactic, v)).ok()) << tactic.name << " " << v;
    }
  }
  // One weight among 36864: a wrong tap of one channel.
  Tensor other(weights.type(), weights.dims());
  for (int64_t i = 0; i < weights.count(); ++i) other.set(i, i == 4711 ? weights.at(i) + 3 : weights.at(i));
  problem.constants[1] = other;
  box = GpuSandbox::create(problem, 0, Tensors{inputs[0], other});
  ASSERT_TRUE(box.ok()) << box.status().message();
  EXPECT_FALSE(agree(problem, machine, want, sample(*witness, 0)).ok());
}

}  // namespace
}  // namespace hone
