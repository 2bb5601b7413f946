// What a graph is rewritten to for int8, checked by the reference.
#include "backends/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "backends/gpu_fusion.h"
#include "backends/precision.h"
#include "ops/fused.h"
#include "passes/pipeline.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::signal_to_noise_db;

const Machine kHopper{.cuda_arch = "sm_90"};

// Names every value "v1", "v2", ... and returns the largest magnitudes that `inputs` give them.
Thresholds ranges_of(Graph& g, const Tensors& inputs) {
  Thresholds ranges;
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (int64_t e = 0; e < inputs[i].count(); ++e) {
      double& largest = ranges[g.value(g.inputs()[i]).name].whole;
      largest = std::max(largest, std::fabs(inputs[i].at(e)));
    }
  }
  for (NodeId id : g.order())
    for (ValueId v : g.node(id).outputs) g.set_name(v, fmt::format("v{}", index(v)));
  const auto ran = interpret(g, inputs, [&](NodeId id, std::span<const Tensor> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      double& largest = ranges[g.value(g.node(id).outputs[i]).name].whole;
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

std::vector<Int8Layer> left_in_floats(std::vector<Int8Layer> layers) {
  std::erase_if(layers, [](const Int8Layer& layer) { return layer.reason.empty(); });
  return layers;
}

TEST(Quantize, ANetworkIsComputedInIntegersAndIsCloseToItsFloats) {
  Graph before = testing::small_network();
  const Tensors inputs{testing::random_tensor({2, 3, 12, 12}, 9)};
  const Thresholds ranges = ranges_of(before, inputs);
  Graph now = before;
  EXPECT_TRUE(left_in_floats(quantize(now, ranges, kHopper).layers).empty());
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

// e4m3 has a fraction of 3 bits: an error of at most 2^-4 of a value, 2.6% of it in the mean of squares, or 31.7 dB a
// tensor, of which a path has a handful.
TEST(Quantize, InFp8ItIsAsCloseAsThreeBitsAllow) {
  Graph before = testing::small_network();
  const Tensors inputs{testing::random_tensor({2, 3, 12, 12}, 9)};
  Thresholds ranges = ranges_of(before, inputs);
  // Nothing is clipped where it is known what was seen.
  for (auto& [name, m] : ranges) m = {.whole = m.whole / 100, .largest = m.whole};
  Graph now = before;
  EXPECT_TRUE(left_in_floats(quantize(now, ranges, kHopper, {}, DType::f8e4m3fn).layers).empty());
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  EXPECT_EQ(count_of(now, DType::i8) + count_of(now, DType::i32), 0u);
  for (NodeId id : now.order()) {
    const Node& node = now.node(id);
    const bool product = node.op.name() == "Conv" || node.op.name() == "MatMul";
    for (size_t k = 0; product && k < 2; ++k) EXPECT_EQ(now.type(node.inputs[k]).dtype, DType::f8e4m3fn);
  }
  const auto got = interpret(now, inputs), want = interpret(before, inputs);
  ASSERT_TRUE(got.ok() && want.ok());
  EXPECT_GT(signal_to_noise_db((*got)[0], (*want)[0]), 22);

  ASSERT_TRUE(merge_elementwise(now).ok());
  Graph halves = now;
  reduce_precision(halves, DType::f16, kHopper);
  for (Graph* g : {&now, &halves}) {
    ASSERT_TRUE(fuse(*g).ok());
    fuse_for_gpu(*g, kHopper);
    ASSERT_TRUE(verify(*g).ok()) << verify(*g).message();
    EXPECT_EQ(count_of(*g, DType::f8e4m3fn, Fused::kName), 1u) << to_text(*g, {.max_inline = 4});
    EXPECT_EQ(count_of(*g, DType::f32, "Conv") + count_of(*g, DType::f32, "MatMul"), 0u);
    const auto again = interpret(*g, inputs);
    ASSERT_TRUE(again.ok());
    EXPECT_GT(signal_to_noise_db((*again)[0], (*want)[0]), 22);
  }
  Graph ampere = before;
  for (const Int8Layer& layer : quantize(ampere, ranges, {.cuda_arch = "sm_86"}, {}, DType::f8e4m3fn).layers)
    EXPECT_EQ(layer.reason, "no fast fp8 kernel can do it");
  EXPECT_TRUE(equal(ampere, before));
}

TEST(Quantize, ALayerWithoutARangeStaysAndSaysWhy) {
  Graph g = testing::small_network();
  const Tensors inputs{testing::random_tensor({2, 3, 12, 12}, 9)};
  Thresholds ranges = ranges_of(g, inputs);
  ranges.erase("x");
  for (NodeId id : g.order())
    if (g.node(id).op.name() == "Transpose") ranges.erase(g.value(g.node(id).outputs[0]).name);
  const auto left = left_in_floats(quantize(g, ranges, kHopper).layers);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0].reason.find("no range"), std::string::npos);
  EXPECT_EQ(count_of(g, DType::f32, "Conv"), 1u);
}

// A depthwise convolution makes up for the scales of its channels whole, a product for their root.
TEST(Quantize, ChannelsOfUnequalMagnitudesHaveScalesOfTheirOwn) {
  const auto conv = [](Graph& g, ValueId x) {
    return testing::add(g, "Conv",
                        {{"strides", std::vector<int64_t>{1, 1}},
                         {"dilations", std::vector<int64_t>{1, 1}},
                         {"pads", std::vector<int64_t>{1, 1, 1, 1}},
                         {"groups", int64_t{16}},
                         {"channels_last", true}},
                        {x, g.add_constant(testing::random_tensor({16, 1, 3, 3}, 3), "w")});
  };
  const auto product = [](Graph& g, ValueId x) {
    Tensor weights = testing::random_tensor({16, 24}, 4);  // the weaker an input is, the larger its weights
    for (int64_t i = 0; i < weights.count(); ++i)
      weights.mutable_data<float>()[i] *= std::ldexp(1.f, static_cast<int>(i / 24) / 2);
    return testing::add(g, "MatMul", {}, {x, g.add_constant(weights, "w")});
  };
  const auto transposed = [](Graph& g, ValueId x) {
    Tensor weights = testing::random_tensor({24, 16}, 4);
    for (int64_t i = 0; i < weights.count(); ++i)
      weights.mutable_data<float>()[i] *= std::ldexp(1.f, static_cast<int>(i % 16) / 2);
    return testing::add(g, "MatMul", {{"trans_b", true}}, {x, g.add_constant(weights, "w")});
  };
  Tensor x = testing::random_tensor({1, 6, 6, 16}, 9);
  for (int64_t i = 0; i < x.count(); ++i) x.mutable_data<float>()[i] *= std::ldexp(1.f, -static_cast<int>(i % 16) / 2);
  Magnitude known{.whole = 1};
  for (int c = 0; c < 16; ++c) known.channels.push_back(std::ldexp(1.0, -c / 2));
  const auto noise = [&](const auto& layer, const Magnitude& magnitude, bool read_by_another) {
    Graph g;
    const ValueId in = g.add_input("x", {DType::f32, Shape::of(x.dims())});
    g.add_output(layer(g, in), "y");
    if (read_by_another)
      g.add_output(testing::add(g, "Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {in}), "z");
    const auto want = interpret(g, Tensors{x});
    EXPECT_TRUE(left_in_floats(quantize(g, {{"x", magnitude}}, kHopper).layers).empty());
    EXPECT_TRUE(verify(g).ok()) << verify(g).message();
    EXPECT_EQ(count_of(g, DType::i32), 1u);
    const auto got = interpret(g, Tensors{x});
    EXPECT_TRUE(got.ok() && want.ok());
    // Each channel of the output counts alike.
    double least = 1e9;
    const int64_t channels = (*want)[0].dims().back();
    for (int64_t c = 0; c < channels; ++c) {
      double signal = 0, error = 0;
      for (int64_t i = c; i < (*want)[0].count(); i += channels) {
        signal += std::pow((*want)[0].at(i), 2);
        error += std::pow((*got)[0].at(i) - (*want)[0].at(i), 2);
      }
      least = std::min(least, 10 * std::log10(signal / error));
    }
    return least;
  };
  const Magnitude whole{.whole = 1};
  EXPECT_GT(noise(conv, known, false), 38);
  EXPECT_LT(noise(conv, whole, false), 15);
  EXPECT_EQ(noise(conv, known, true), noise(conv, whole, true));
  for (const auto& layer :
       {std::function<ValueId(Graph&, ValueId)>(product), std::function<ValueId(Graph&, ValueId)>(transposed)})
    EXPECT_GT(noise(layer, known, false), noise(layer, whole, false) + 6);
  EXPECT_EQ(noise(conv, {1, {1, 2}}, false), noise(conv, whole, false)) << "channels of another tensor";
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
  EXPECT_TRUE(left_in_floats(quantize(g, ranges, kHopper).layers).empty());
  ASSERT_TRUE(verify(g).ok()) << verify(g).message();
  const auto got = interpret(g, inputs);
  ASSERT_TRUE(got.ok() && want.ok());
  EXPECT_EQ((*got)[0], (*want)[0]);
  EXPECT_EQ(count_of(g, DType::i8, "Concat"), 1u);
  EXPECT_GT(signal_to_noise_db((*got)[1], (*want)[1]), 35);
}

}  // namespace
}  // namespace hone
