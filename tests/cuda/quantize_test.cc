// What a graph is rewritten to for int8, checked by the reference.
#include "backends/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends/gpu_fusion.h"
#include "backends/precision.h"
#include "ops/fused.h"
#include "passes/pipeline.h"
#include "small_network.h"

namespace hone {
namespace {

const Machine kHopper{.cuda_arch = "sm_90"};

// Names every value "v1", "v2", ... and returns the largest magnitudes that `inputs` give them.
Thresholds ranges_of(Graph& g, const Tensors& inputs) {
  Thresholds ranges;
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (int64_t e = 0; e < inputs[i].count(); ++e) {
      double& largest = ranges[g.value(g.inputs()[i]).name];
      largest = std::max(largest, std::fabs(inputs[i].at(e)));
    }
  }
  for (NodeId id : g.order())
    for (ValueId v : g.node(id).outputs) g.set_name(v, fmt::format("v{}", index(v)));
  const auto ran = interpret(g, inputs, [&](NodeId id, std::span<const Tensor> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      double& largest = ranges[g.value(g.node(id).outputs[i]).name];
      for (int64_t e = 0; e < values[i].count(); ++e) largest = std::max(largest, std::fabs(values[i].at(e)));
    }
  });
  EXPECT_TRUE(ran.ok());
  return ranges;
}

size_t count_of(const Graph& g, DType type, std::string_view op = {}) {
  size_t count = 0;
  for (NodeId id : g.order())
    count += g.type(g.node(id).outputs[0]).dtype == type && (op.empty() || g.node(id).op.name() == op);
  return count;
}

double signal_to_noise_db(const Tensor& got, const Tensor& want) {
  double signal = 0, noise = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    signal += want.at(i) * want.at(i);
    noise += (got.at(i) - want.at(i)) * (got.at(i) - want.at(i));
  }
  return 10 * std::log10(signal / noise);
}

TEST(Quantize, ANetworkIsComputedInIntegersAndIsCloseToItsFloats) {
  Graph before = testing::small_network();
  const Tensors inputs{testing::random_tensor({2, 3, 12, 12}, 9)};
  const Thresholds ranges = ranges_of(before, inputs);
  Graph now = before;
  EXPECT_TRUE(quantize(now, ranges, kHopper).empty());
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  EXPECT_EQ(count_of(now, DType::i32), 3u);
  EXPECT_EQ(count_of(now, DType::f32, "Conv") + count_of(now, DType::f32, "MatMul"), 0u);
  const auto got = interpret(now, inputs), want = interpret(before, inputs);
  ASSERT_TRUE(got.ok() && want.ok());
  // An error of half a step of 1/127 of the largest value, uniform, and values of a third of it: 42 dB a tensor, of
  // which a path has a handful.
  EXPECT_GT(signal_to_noise_db((*got)[0], (*want)[0]), 30);

  // All of it is in the convolutions' and products' own kernels, but for what the average reads.
  ASSERT_TRUE(merge_elementwise(now).ok());
  Graph halves = now;
  reduce_precision(halves, DType::f16, kHopper);
  for (Graph* g : {&now, &halves}) {
    ASSERT_TRUE(fuse(*g).ok());
    fuse_for_gpu(*g, kHopper);
    ASSERT_TRUE(verify(*g).ok()) << verify(*g).message();
    EXPECT_EQ(count_of(*g, DType::i32), 0u);
    EXPECT_EQ(count_of(*g, DType::i8, Fused::kName), 1u) << to_text(*g, {.max_inline = 4});
    const auto again = interpret(*g, inputs);
    ASSERT_TRUE(again.ok());
    if (g == &now) EXPECT_EQ((*again)[0], (*got)[0]);
    else EXPECT_GT(signal_to_noise_db((*again)[0], (*want)[0]), 30);
  }
}

TEST(Quantize, ALayerWithoutARangeStaysAndSaysWhy) {
  Graph g = testing::small_network();
  const Tensors inputs{testing::random_tensor({2, 3, 12, 12}, 9)};
  Thresholds ranges = ranges_of(g, inputs);
  ranges.erase("x");
  for (NodeId id : g.order())
    if (g.node(id).op.name() == "Transpose") ranges.erase(g.value(g.node(id).outputs[0]).name);
  const auto left = quantize(g, ranges, kHopper);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0].reason.find("no range"), std::string::npos);
  EXPECT_EQ(count_of(g, DType::f32, "Conv"), 1u);
}

TEST(Quantize, PoolingAndConcatenationAreDoneOnIntegersOfOneScale) {
  auto parsed = graph_from_text(R"hone(graph {
      input %1 "x" : f32[1,6,6,16]
      %2 = Pool(%1) {kind="max", kernel=[2,2], strides=[2,2], dilations=[1,1], pads=[0,0,0,0], channels_last=true}
      %3 = Pool(%1) {kind="max", kernel=[3,3], strides=[2,2], dilations=[1,1], pads=[1,1,1,1], channels_last=true}
      %4 = Concat(%2, %3) {axis=-1}
      output %4 "z"
    })hone");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  Graph g = *parsed;
  const ValueId joined = g.outputs()[0];
  g.add_output(testing::add(g, "MatMul", {}, {joined, g.add_constant(testing::random_tensor({32, 16}, 3), "w")}), "y");
  const Tensors inputs{testing::random_tensor({1, 6, 6, 16}, 9)};
  const Thresholds ranges = ranges_of(g, inputs);
  const auto want = interpret(g, inputs);
  EXPECT_TRUE(quantize(g, ranges, kHopper).empty());
  ASSERT_TRUE(verify(g).ok()) << verify(g).message();
  const auto got = interpret(g, inputs);
  ASSERT_TRUE(got.ok() && want.ok());
  EXPECT_EQ((*got)[0], (*want)[0]);
  EXPECT_EQ(count_of(g, DType::i8, "Concat"), 1u);
  EXPECT_GT(signal_to_noise_db((*got)[1], (*want)[1]), 35);
}

}  // namespace
}  // namespace hone
