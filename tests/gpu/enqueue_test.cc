// Runs on streams of the caller, on the GPU that is here. Skipped without one; tests/enqueue has the order of calls.
#include <gtest/gtest.h>

#include "backends/gpu_fusion.h"
#include "backends/lower.h"
#include "passes/pipeline.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

// A network with its input and output in memory of the GPU.
class GpuEnqueue : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto devices = cuda::devices();
    if (!devices.ok()) GTEST_SKIP() << devices.status().message();
    const Machine machine{.cuda_arch = (*devices)[0].arch(), .cuda_device = 0};
    Graph graph = testing::small_network();
    ASSERT_TRUE(fuse(graph).ok());
    fuse_for_gpu(graph, machine);
    make(graph, machine);
    in = device_copy(x);
    out = device_copy(Tensor(DType::f32, {2, 8}));
    ASSERT_TRUE(context->bind_input("x", in).ok());
    ASSERT_TRUE(context->bind_device_output("y", out).ok());
  }

  void make(const Graph& graph, const Machine& machine) {
    Selector selector({.machine = machine, .tune = false});
    auto data = lower(graph, selector, machine);
    ASSERT_TRUE(data.ok()) << data.status().message();
    data->program.target = "cuda";
    const auto engine = LoadedEngine::make(std::move(*data));
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    context = std::make_unique<ExecutionContext>(*engine);
    for (auto* stream : {&own, &first, &second}) *stream = std::move(*cuda::Stream::create());
  }

  Tensor device_copy(const Tensor& t) {
    const auto memory = *cuda::allocate(static_cast<int64_t>(t.bytes()));
    Tensor copy(t.type(), t.dims(), memory.get(), memory);
    write(copy, t);
    return copy;
  }
  void write(Tensor& to, const Tensor& from) {
    EXPECT_TRUE(own->copy_to_device(to.mutable_raw(), from.raw(), from.bytes()).ok());
    EXPECT_TRUE(own->synchronize().ok());
  }
  Tensor read(const Tensor& from) {
    Tensor copy(from.type(), from.dims());
    EXPECT_TRUE(own->copy_to_host(copy.mutable_raw(), from.raw(), copy.bytes()).ok());
    EXPECT_TRUE(own->synchronize().ok());
    return copy;
  }
  // What run() gives for the same input, after which the output is cleared.
  Tensor expected() {
    EXPECT_TRUE(context->run().ok());
    const Tensor y = read(out);
    write(out, Tensor(out.type(), out.dims()));
    return y;
  }

  std::unique_ptr<cuda::Stream> own, first, second;
  std::unique_ptr<ExecutionContext> context;
  Tensor x = testing::random_tensor({2, 3, 12, 12}, 9), in, out;
};

TEST_F(GpuEnqueue, GivesWhatARunGives) {
  for (const auto* stream : {&first, &second, &first}) {  // step by step, as a graph, and again
    ASSERT_TRUE(context->enqueue((*stream)->handle()).ok());
    ASSERT_TRUE(context->synchronize().ok());
    const Tensor got = read(out);
    EXPECT_EQ(got, expected());
  }
  ASSERT_TRUE(context->enqueue(nullptr).ok());
  ASSERT_TRUE(context->synchronize().ok());
  const Tensor got = read(out);
  EXPECT_EQ(got, expected());
}

// Many runs on two streams with nobody waiting: each reads what one copied before it on its own stream, and both use
// the same arena.
TEST_F(GpuEnqueue, RunsOnTwoStreamsDoNotMix) {
  const Tensor want = expected();
  for (int i = 0; i < 200; ++i) {
    const auto status = context->enqueue((i % 2 == 0 ? first : second)->handle());
    ASSERT_TRUE(status.ok()) << status.message();
  }
  ASSERT_TRUE(context->synchronize().ok());
  EXPECT_EQ(read(out), want);
}

TEST_F(GpuEnqueue, AGraphOfTheCallerRunsAgainOnNewInputs) {
  expected();
  ASSERT_TRUE(cuda::Graph::begin(*first).ok());
  const Status captured = context->enqueue(first->handle());
  const auto graph = cuda::Graph::end(*first);
  ASSERT_TRUE(captured.ok()) << captured.message();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  for (unsigned seed : {9u, 10u}) {
    write(in, testing::random_tensor({2, 3, 12, 12}, seed));
    ASSERT_TRUE((*graph)->launch(*first).ok());
    ASSERT_TRUE(first->synchronize().ok());
    const Tensor got = read(out);
    EXPECT_EQ(got, expected()) << seed;
  }
}

TEST_F(GpuEnqueue, AFaultIsReportedByALaterCallAndOnce) {
  const auto graph = graph_from_text(R"hone(graph {
    input %1 "i" : i64[3]
    input %2 "table" : f32[5,2]
    %3 "y" = Gather(%2, %1)
    output %3 "y"
  })hone");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  make(*graph, {.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0});
  const std::vector<int64_t> bad{0, 5, 1}, good{0, -1, 4};
  Tensor i = device_copy(Tensor::vector(good));
  ASSERT_TRUE(context->bind_input("i", i).ok());
  ASSERT_TRUE(context->bind_input("table", device_copy(testing::random_tensor({5, 2}, 1))).ok());
  ASSERT_TRUE(context->bind_device_output("y", device_copy(Tensor(DType::f32, {3, 2}))).ok());
  for (int run = 0; run < 3; ++run) {
    write(i, Tensor::vector(bad));
    ASSERT_TRUE(context->enqueue(first->handle()).ok()) << run;
    const Status found = context->synchronize();
    EXPECT_EQ(found.code(), Code::invalid) << found.message();
    EXPECT_NE(found.message().find("index"), std::string::npos) << found.message();
    write(i, Tensor::vector(good));
    ASSERT_TRUE(context->enqueue(first->handle()).ok()) << run;
    EXPECT_TRUE(context->synchronize().ok());
  }
}

}  // namespace
}  // namespace hone
