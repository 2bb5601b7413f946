// Engines on the GPU that is here: what steps show, and what the GPU reaches. Skipped without one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "backends/fp16_range.h"
#include "backends/gpu_fusion.h"
#include "backends/lower.h"
#include "backends/peaks.h"
#include "backends/precision.h"
#include "backends/sub_batches.h"
#include "passes/pipeline.h"
#include "runtime/context.h"
#include "small_network.h"

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

  // That an engine of `graph` computes what `network` does.
  void expect_right(Graph graph, const Graph& network, const Tensor& x, double tolerance) {
    const auto want = interpret(network, {&x, 1});
    ASSERT_TRUE(want.ok());
    ASSERT_TRUE(fuse(graph).ok());
    fuse_for_gpu(graph, machine_);
    Selector selector({.machine = machine_});
    auto data = lower(graph, selector, machine_);
    ASSERT_TRUE(data.ok()) << data.status().message();
    data->program.target = "cuda";
    const auto engine = LoadedEngine::make(std::move(*data));
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    const auto compare = [&](const Tensor& y) {
      for (int64_t i = 0; i < y.count(); ++i) EXPECT_NEAR(y.at(i), (*want)[0].at(i), tolerance);
    };
    ExecutionContext context(*engine);
    ASSERT_TRUE(context.bind_input("x", x).ok());
    for (int run = 0; run < 3; ++run) {
      ASSERT_TRUE(context.run().ok());
      compare(*context.output("y"));
    }

    const Tensor shape = *context.output("y");
    auto stream = cuda::Stream::create();
    auto in = cuda::allocate(static_cast<int64_t>(x.bytes())),
         out = cuda::allocate(static_cast<int64_t>(shape.bytes()));
    ASSERT_TRUE(stream.ok() && in.ok() && out.ok());
    ASSERT_TRUE((*stream)->copy_to_device(in->get(), x.raw(), x.bytes()).ok());
    ASSERT_TRUE((*stream)->synchronize().ok());
    ASSERT_TRUE(context.bind_input("x", Tensor(x.type(), x.dims(), in->get(), *in)).ok());
    ASSERT_TRUE(context.bind_device_output("y", Tensor(shape.type(), shape.dims(), out->get(), *out)).ok());
    for (int run = 0; run < 2; ++run) ASSERT_TRUE(context.run().ok());
    Tensor y(shape.type(), shape.dims());
    ASSERT_TRUE((*stream)->copy_to_host(y.mutable_raw(), out->get(), y.bytes()).ok());
    ASSERT_TRUE((*stream)->synchronize().ok());
    compare(y);
  }

  Machine machine_;
};

// From values in the host's memory, and from memory of the GPU to memory of the GPU, as steps and as a graph of them.
TEST_F(GpuEngine, ANetworkIsRightInEveryPrecision) {
  const Graph network = testing::small_network();
  const Tensor x = testing::random_tensor({2, 3, 12, 12}, 9);
  struct Case {
    DType half;
    bool tf32;
    double unit;  // of rounding; ten of those, of probabilities of about 1/8 and logits of about 1
  };
  for (const Case& c : {Case{DType::none, false, 1e-6}, Case{DType::none, true, 0x1p-11},
                        Case{DType::f16, false, 0x1p-11}, Case{DType::bf16, false, 0x1p-8}}) {
    machine_.tf32 = c.tf32;
    Graph graph = network;
    if (c.half != DType::none) reduce_precision(graph, c.half, machine_);
    SCOPED_TRACE(name(c.half));
    expect_right(std::move(graph), network, x, 10 * c.unit);
  }
}

// Parts of the input and of what is handed on are views there too.
TEST_F(GpuEngine, LayersAreDoneForPartsOfTheBatch) {
  const Graph whole = testing::batch_of_images(4);
  auto divided = in_sub_batches(whole, {.part = 8 << 10, .whole = 8 << 10});
  ASSERT_TRUE(divided.ok() && divided->has_value());
  expect_right(std::move(divided->value().graph), whole, testing::random_tensor({4, 16, 16, 8}, 9), 1e-5);
}

TEST_F(GpuEngine, WhatFp16CannotHoldStaysFinite) {
  const Graph network = testing::squaring_network(100);
  const Tensor x = testing::random_tensor({4, 16}, 9);
  const auto want = interpret(network, {&x, 1});
  ASSERT_TRUE(want.ok());
  Graph graph = network;
  SeenRanges seen;
  const auto notes = reduce_safely(graph, DType::f16, machine_, {}, false, seen);
  ASSERT_TRUE(notes.ok()) << notes.status().message();
  ASSERT_TRUE(fuse(graph).ok());
  fuse_for_gpu(graph, machine_);
  Selector selector({.machine = machine_, .tune = false});
  auto data = lower(graph, selector, machine_);
  ASSERT_TRUE(data.ok()) << data.status().message();
  data->program.target = "cuda";
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.bind_input("x", x).ok());
  ASSERT_TRUE(context.run().ok());
  const Tensor y = *context.output("y");
  for (int64_t i = 0; i < y.count(); ++i) EXPECT_NEAR(y.at(i), (*want)[0].at(i), 10 * 0x1p-11) << i;
}

// An index outside of a table is an error of that run, and the next one is right again.
TEST_F(GpuEngine, AnIndexOutsideOfATableIsReported) {
  const auto graph = graph_from_text(R"hone(graph {
    input %1 "i" : i64[3]
    input %2 "table" : f32[5,2]
    %3 "y" = Gather(%2, %1)
    output %3 "y"
  })hone");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  Selector selector({.machine = machine_, .tune = false});
  auto data = lower(*graph, selector, machine_);
  ASSERT_TRUE(data.ok()) << data.status().message();
  data->program.target = "cuda";
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  const Tensor table = testing::random_tensor({5, 2}, 1);
  ASSERT_TRUE(context.bind_input("table", table).ok());
  for (const std::vector<int64_t>& indices : {std::vector<int64_t>{0, -1, 4}, {0, 5, 1}, {-6, 0, 0}, {3, 2, 1}}) {
    const bool inside = std::all_of(indices.begin(), indices.end(), [](int64_t i) { return i >= -5 && i < 5; });
    ASSERT_TRUE(context.bind_input("i", Tensor::vector(indices)).ok());
    const Status status = context.run();
    EXPECT_EQ(status.ok(), inside) << status.message();
    if (inside) EXPECT_EQ(context.output("y")->at(0), table.at(indices[0] * 2));
    else EXPECT_NE(status.message().find("index"), std::string::npos) << status.message();
  }
}

// A step on the GPU, one in f64, which only the CPU can do, and one on the GPU again.
TEST_F(GpuEngine, ObserversSeeWhatEitherSideComputed) {
  const auto graph = graph_from_text(R"hone(graph {
    input %1 "x" : f32[4,6]
    %2 "a" = Pointwise(%1) {program="in0:f32; exp:f32(0)"}
    %3 "b" = Pointwise(%2) {program="in0:f32; cast:f64(0); log:f64(1); cast:f32(2)"}
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
  context.observer = [&](size_t step) -> Status {
    ++seen;
    HONE_TRY(const auto outputs, context.fetch_step(step));
    EXPECT_EQ(outputs[0]->dims(), want[step].dims());
    for (int64_t i = 0; i < want[step].count(); ++i) EXPECT_NEAR(outputs[0]->at(i), want[step].at(i), 1e-4) << step;
    return {};
  };
  ASSERT_TRUE(context.run().ok());
  EXPECT_EQ(seen, 3);
}

TEST_F(GpuEngine, PeaksAreThoseOfAGpu) {
  TacticCache cache;
  const auto peaks = gpu_peaks(machine_, cache);
  ASSERT_TRUE(peaks.ok()) << peaks.status().message();
  EXPECT_GT(peaks->operations_per_s("fp32"), 1e12);
  ASSERT_EQ(peaks->bandwidths.size(), 2u);
  EXPECT_GT(peaks->bandwidths[0].bytes_per_s, peaks->bandwidths[1].bytes_per_s);
  EXPECT_GT(peaks->bandwidths[1].bytes_per_s, 1e11);
  EXPECT_TRUE(cache.changed());
}

}  // namespace
}  // namespace hone
