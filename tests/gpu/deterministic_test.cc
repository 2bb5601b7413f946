// The same bits in every run of an engine that was built for it, on the GPU that is here. Skipped without one.
#include <gtest/gtest.h>

#include <cstring>

#include "backends/gpu_fusion.h"
#include "backends/lower.h"
#include "backends/precision.h"
#include "passes/pipeline.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::add;

// Products whose sums are long enough to be split, norms, attention's softmax and averages.
Graph medium_network() {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{128, 1024})});
  ValueId y = x;
  for (unsigned layer = 0; layer < 4; ++layer) {
    const auto dense = [&](ValueId from, int64_t in, int64_t out, unsigned seed) {
      return add(g, "MatMul", {}, {from, g.add_constant(testing::random_tensor({in, out}, seed, 0.05f), "w")});
    };
    const ValueId norm = add(g, "LayerNorm", {{"epsilon", 1e-5}, {"rms", true}}, {y});
    const ValueId scores =
        add(g, "MatMul", {{"trans_b", true}}, {dense(norm, 1024, 64, layer), dense(norm, 1024, 64, layer + 10)});
    const ValueId mixed = add(
        g, "MatMul", {}, {add(g, "Softmax", {{"axis", int64_t{-1}}}, {scores}), dense(norm, 1024, 1024, layer + 20)});
    const ValueId wide = add(g, "Pointwise", {{"program", std::string("in0:f32; gelu_erf:f32(0)")}},
                             {dense(mixed, 1024, 2048, layer + 30)});
    y = add(g, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1)")}},
            {dense(wide, 2048, 1024, layer + 40), y});
  }
  g.add_output(add(g, "Reduce", {{"kind", std::string("mean")}, {"keep_dims", false}}, {y}), "mean");
  g.add_output(y, "y");
  return g;
}

Tensor copy_of(const Tensor& t) {
  Tensor copy(t.type(), t.dims());
  std::memcpy(copy.mutable_raw(), t.raw(), t.bytes());
  return copy;
}

TEST(GpuDeterministic, AThousandRunsGiveTheSameBits) {
  const auto devices = cuda::devices();
  if (!devices.ok()) GTEST_SKIP() << devices.status().message();
  for (const Graph& network : {testing::small_network(), medium_network()})
    for (const DType half : {DType::none, DType::f16}) {
      const Machine machine{.cuda_arch = (*devices)[0].arch(), .cuda_device = 0, .tf32 = half == DType::none};
      Graph graph = network;
      if (half != DType::none) reduce_precision(graph, half, machine);
      ASSERT_TRUE(fuse(graph).ok());
      fuse_for_gpu(graph, machine);
      Selector selector({.machine = machine, .deterministic = true});
      auto data = lower(graph, selector, machine);
      ASSERT_TRUE(data.ok()) << data.status().message();
      for (const Step& step : data->program.steps) EXPECT_EQ(step.varies, "") << step.label;
      data->program.target = "cuda";
      const auto engine = LoadedEngine::make(std::move(*data));
      ASSERT_TRUE(engine.ok()) << engine.status().message();
      ExecutionContext context(*engine);
      const TensorType type = network.type(network.inputs()[0]);
      ASSERT_TRUE(context.bind_input("x", testing::random_tensor(*type.shape.concrete(), 9)).ok());
      Tensors first;
      for (int run = 0; run < 1000; ++run) {
        ASSERT_TRUE(context.run().ok());
        const Tensors outputs = context.outputs();
        if (run > 0) ASSERT_EQ(outputs, first) << name(half) << ", run " << run;
        else
          for (const Tensor& t : outputs) first.push_back(copy_of(t));
      }
    }
}

}  // namespace
}  // namespace hone
