// Engines on the GPU that is here: what steps show, and what the GPU reaches. Skipped without one.
#include <gtest/gtest.h>

#include <cstring>

#include "backends/lower.h"
#include "backends/peaks.h"
#include "runtime/context.h"

namespace hone {
namespace {

class GpuEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto devices = cuda::devices();
    if (!devices.ok()) GTEST_SKIP() << devices.status().message();
    machine_.cuda_arch = (*devices)[0].arch();
    machine_.cuda_device = 0;
  }
  Machine machine_;
};

// A step on the GPU, one that only the CPU can do, and one on the GPU again.
TEST_F(GpuEngine, ObserversSeeWhatEitherSideComputed) {
  const auto graph = graph_from_text(R"hone(graph {
    input %1 "x" : f32[4,6]
    const %5 : i64[] = [1]
    %2 "a" = Pointwise(%1) {program="in0:f32; exp:f32(0)"}
    %3 "b" = Cumulate(%2, %5) {kind="sum"}
    %4 "c" = Pointwise(%3) {program="in0:f32; sqrt:f32(0)"}
    output %4 "y"
  })hone");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  Tensor x(DType::f32, {4, 6});
  for (int64_t i = 0; i < x.count(); ++i) x.set(i, 0.1 * static_cast<double>(i));
  Tensors want;
  const auto keep = [&](NodeId, std::span<const Tensor> outputs) { want.push_back(outputs[0]); };
  ASSERT_TRUE(interpret(*graph, {&x, 1}, keep).ok());

  Selector selector({.machine = machine_, .tune = false});
  auto data = lower(*graph, selector, machine_);
  ASSERT_TRUE(data.ok()) << data.status().message();
  data->program.target = "cuda";
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_EQ((*engine)->on_gpu(), (std::vector<bool>{true, false, true}));
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.bind_input("x", x).ok());
  ASSERT_TRUE(context.run().ok());
  size_t seen = 0;
  context.observer = [&](size_t step, std::span<const Tensor* const> outputs) {
    ++seen;
    ASSERT_EQ(outputs[0]->dims(), want[step].dims());
    for (int64_t i = 0; i < want[step].count(); ++i) EXPECT_NEAR(outputs[0]->at(i), want[step].at(i), 1e-4) << step;
  };
  ASSERT_TRUE(context.run().ok());
  EXPECT_EQ(seen, 3);
}

TEST_F(GpuEngine, PeaksAreThoseOfAGpu) {
  TacticCache cache;
  const auto peaks = gpu_peaks(machine_, cache);
  ASSERT_TRUE(peaks.ok()) << peaks.status().message();
  EXPECT_GT(peaks->operations_per_s, 1e12);
  ASSERT_EQ(peaks->bandwidths.size(), 2u);
  EXPECT_GT(peaks->bandwidths[0].bytes_per_s, peaks->bandwidths[1].bytes_per_s);
  EXPECT_GT(peaks->bandwidths[1].bytes_per_s, 1e11);
  EXPECT_TRUE(cache.changed());
}

}  // namespace
}  // namespace hone
