// Steps that run at once give the bits that they give one after the other, on the GPU that is here. Skipped without
// one.
#include <gtest/gtest.h>

#include <cstring>

#include "backends/gpu_fusion.h"
#include "backends/lower.h"
#include "backends/network_timing.h"
#include "backends/precision.h"
#include "backends/streams.h"
#include "passes/pipeline.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::add;

// Convolutions of one image, channels last.
struct Network {
  Graph graph;
  ValueId last = graph.add_input("x", {DType::f32, Shape::of(Dims{4, 28, 28, 64})});
  unsigned seed = 1;

  ValueId conv(ValueId from, int64_t channels, int64_t size, int64_t stride = 1) {
    const int64_t in = graph.type(from).shape.concrete()->back();
    const ValueId w = graph.add_constant(
        testing::random_tensor({channels, in, size, size}, seed, 1.7f / static_cast<float>(size * 8)), "w");
    const ValueId b = graph.add_constant(testing::random_tensor({channels}, ++seed, 0.1f), "b");
    return add(graph, "Conv",
               {{"strides", std::vector<int64_t>{stride, stride}},
                {"dilations", std::vector<int64_t>{1, 1}},
                {"pads", std::vector<int64_t>(4, size / 2)},
                {"channels_last", true}},
               {from, w, b});
  }
  ValueId relu(ValueId v) { return add(graph, "Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {v}); }

  // Four branches of 1, 2, 3 and 2 layers that are joined again.
  void inception() {
    const ValueId one = relu(conv(last, 32, 1));
    const ValueId three = relu(conv(relu(conv(last, 48, 1)), 64, 3));
    const ValueId five = relu(conv(relu(conv(relu(conv(last, 16, 1)), 24, 3)), 32, 3));
    const ValueId other = relu(conv(relu(conv(last, 32, 3)), 32, 1));
    last = add(graph, "Concat", {{"axis", int64_t{3}}}, {one, three, five, other});
  }
  // The first block of a stage of ResNet: its shortcut is a convolution.
  void downsample(int64_t channels) {
    const ValueId shortcut = conv(last, channels, 1, 2);
    const ValueId main = conv(relu(conv(relu(conv(last, channels / 4, 1)), channels / 4, 3, 2)), channels, 1);
    last = add(graph, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1); relu:f32(2)")}},
               {main, shortcut});
  }
};

Graph branchy_network() {
  Network n;
  n.inception();
  n.inception();
  n.graph.add_output(n.last, "inner");
  n.downsample(256);
  n.inception();
  n.downsample(512);
  n.graph.add_output(n.last, "y");
  return std::move(n.graph);
}

class GpuStreams : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const auto devices = cuda::devices();
    if (!devices.ok()) GTEST_SKIP() << devices.status().message();
    const Machine machine{.cuda_arch = (*devices)[0].arch(), .cuda_device = 0};
    Graph graph = branchy_network();
    if (GetParam() != DType::none) reduce_precision(graph, GetParam(), machine);
    ASSERT_TRUE(fuse(graph).ok());
    fuse_for_gpu(graph, machine);
    Selector selector({.machine = machine, .deterministic = true});
    auto data = lower(graph, selector, machine);
    ASSERT_TRUE(data.ok()) << data.status().message();
    data_ = std::move(*data);
    data_.program.target = "cuda";
  }

  std::unique_ptr<ExecutionContext> context_of(const EngineData& data) {
    const auto engine = LoadedEngine::make(data);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    auto context = std::make_unique<ExecutionContext>(*engine);
    EXPECT_TRUE(context->bind_input("x", testing::random_tensor({4, 28, 28, 64}, 99)).ok());
    return context;
  }
  static Tensors copies(const Tensors& tensors) {
    Tensors all;
    for (const Tensor& t : tensors) {
      Tensor& copy = all.emplace_back(t.type(), t.dims());
      std::memcpy(copy.mutable_raw(), t.raw(), t.bytes());
    }
    return all;
  }
  Tensors expected() {
    const auto context = context_of(data_);
    EXPECT_TRUE(context->run().ok());
    EXPECT_TRUE(context->run().ok());
    return copies(context->outputs());
  }

  EngineData data_;
};

INSTANTIATE_TEST_SUITE_P(Precisions, GpuStreams, ::testing::Values(DType::none, DType::f16),
                         [](const auto& info) { return info.param == DType::f16 ? "fp16" : "fp32"; });

TEST_P(GpuStreams, AThousandRunsGiveTheBitsOfOneStream) {
  const Tensors want = expected();
  for (const int most : {2, 4}) {
    EngineData data = data_;
    ASSERT_EQ(assign_streams(data.program, most), most);
    const auto context = context_of(data);
    for (int run = 0; run < 1000; ++run) {
      ASSERT_TRUE(context->run().ok());
      ASSERT_EQ(context->outputs(), want) << most << " streams, run " << run;
    }
  }
}

// On a stream of the caller: launched step by step, as a graph, and into a graph that the caller captures; then many
// runs that nobody waits for.
TEST_P(GpuStreams, EnqueuedRunsForkFromTheCallersStream) {
  const Tensors want = expected();
  EngineData data = data_;
  ASSERT_EQ(assign_streams(data.program, 4), 4);
  const auto context = context_of(data);
  const auto stream = std::move(*cuda::Stream::create());
  Tensors on_gpu;
  const auto device_tensor = [&](DType type, const Dims& dims, size_t bytes) {
    const auto memory = *cuda::allocate(static_cast<int64_t>(bytes));
    return on_gpu.emplace_back(type, dims, memory.get(), memory);
  };
  const Tensor x = testing::random_tensor({4, 28, 28, 64}, 99);
  Tensor in = device_tensor(x.type(), x.dims(), x.bytes());
  ASSERT_TRUE(stream->copy_to_device(in.mutable_raw(), x.raw(), x.bytes()).ok());
  ASSERT_TRUE(context->bind_input("x", in).ok());
  Tensors outputs;
  const char* names[] = {"inner", "y"};
  for (size_t i = 0; i < 2; ++i) {
    outputs.push_back(device_tensor(want[i].type(), want[i].dims(), want[i].bytes()));
    ASSERT_TRUE(context->bind_device_output(names[i], outputs[i]).ok());
  }
  const auto expect_outputs = [&](const char* how) {
    ASSERT_TRUE(stream->synchronize().ok()) << how;
    for (size_t i = 0; i < 2; ++i) {
      Tensor got(want[i].type(), want[i].dims());
      const Tensor zeros(want[i].type(), want[i].dims());
      ASSERT_TRUE(stream->copy_to_host(got.mutable_raw(), outputs[i].raw(), got.bytes()).ok());
      ASSERT_TRUE(stream->copy_to_device(outputs[i].mutable_raw(), zeros.raw(), zeros.bytes()).ok());
      ASSERT_TRUE(stream->synchronize().ok());
      EXPECT_EQ(got, want[i]) << how;
    }
  };
  for (const char* how : {"step by step", "as a graph", "again"}) {
    const Status status = context->enqueue(stream->handle());
    ASSERT_TRUE(status.ok()) << how << ": " << status.message();
    expect_outputs(how);
  }
  ASSERT_TRUE(cuda::Graph::begin(*stream).ok());
  const Status captured = context->enqueue(stream->handle());
  const auto graph = cuda::Graph::end(*stream);
  ASSERT_TRUE(captured.ok()) << captured.message();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE((*graph)->launch(*stream).ok());
    expect_outputs("captured");
  }
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(context->enqueue(stream->handle()).ok());
  expect_outputs("many");
}

TEST_P(GpuStreams, AreChosenByTiming) {
  EngineData chosen = data_;
  choose_streams(chosen, time_network_us);
  ASSERT_EQ(chosen.program.build.notes.size(), 1u);
  std::printf("%s\n", chosen.program.build.notes[0].c_str());
  const auto context = context_of(chosen);
  const Tensors want = expected();
  ASSERT_TRUE(context->run().ok());
  ASSERT_TRUE(context->run().ok());
  EXPECT_EQ(context->outputs(), want);
}

}  // namespace
}  // namespace hone
