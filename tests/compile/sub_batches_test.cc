#include "backends/sub_batches.h"

#include <gtest/gtest.h>

#include "compile/compile.h"
#include "engine/manifest.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::add;
using testing::random_tensor;

// Of so many KiB.
CacheSizes caches(int64_t kib) { return {.part = kib << 10, .whole = kib << 10}; }

ValueId conv(Graph& g, ValueId from, int64_t cin, int64_t cout, int64_t stride, unsigned seed) {
  return add(g, "Conv",
             {{"strides", std::vector<int64_t>{stride, stride}},
              {"dilations", std::vector<int64_t>{1, 1}},
              {"pads", std::vector<int64_t>(4, 1)},
              {"channels_last", true}},
             {from, g.add_constant(random_tensor({cout, cin, 3, 3}, seed, 0.3f), "w")});
}

// 16 KiB an item at first, with a sum of two branches; 1 KiB behind the second convolution.
Graph wide_then_narrow(int64_t batch) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{batch, 32, 32, 4})});
  const ValueId first = conv(g, x, 4, 4, 1, 1);
  const ValueId sum = add(g, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1)")}}, {first, x});
  const ValueId small = conv(g, sum, 4, 4, 4, 2);
  const ValueId relu = add(g, "Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {small});
  g.add_output(add(g, "Softmax", {{"axis", int64_t{0}}}, {relu}), "y");
  return g;
}

int count(const Graph& g, std::string_view op) {
  int n = 0;
  for (NodeId id : g.order()) n += g.node(id).op.name() == op;
  return n;
}

TEST(SubBatches, LayersThatExceedTheCachesAreDoneForPartsOfTheBatch) {
  const Graph whole = wide_then_narrow(6);
  const auto divided = in_sub_batches(whole, caches(32));
  ASSERT_TRUE(divided.ok()) << divided.status().message();
  ASSERT_TRUE(divided->has_value());
  EXPECT_EQ(count(**divided, "Split"), 1);
  EXPECT_EQ(count(**divided, "Concat"), 1);
  EXPECT_EQ(count(**divided, "Conv"), 12);       // an item each: 32 KiB pass through a layer, and fit
  EXPECT_EQ(count(**divided, "Softmax"), 1);     // across the batch
  EXPECT_EQ(count(**divided, "Pointwise"), 12);  // 6 sums, and what continues the second convolution
  EXPECT_TRUE(verify(**divided).ok());
  const Tensor x = random_tensor({6, 32, 32, 4}, 9);
  const auto want = interpret(whole, Tensors{x}), got = interpret(**divided, Tensors{x});
  ASSERT_TRUE(want.ok() && got.ok());
  EXPECT_EQ((*want)[0], (*got)[0]);
}

TEST(SubBatches, WhatFitsOrHasNoBatchStaysWhole) {
  const auto divided = [](const Graph& g, int64_t kib) {
    const auto made = in_sub_batches(g, caches(kib));
    EXPECT_TRUE(made.ok());
    return made.ok() && made->has_value();
  };
  EXPECT_TRUE(divided(wide_then_narrow(6), 8));
  EXPECT_FALSE(divided(wide_then_narrow(6), 1024));
  EXPECT_FALSE(divided(wide_then_narrow(1), 8));
  Graph across;  // the first layer reads all items at once
  const ValueId x = across.add_input("x", {DType::f32, Shape::of(Dims{6, 32, 32, 4})});
  across.add_output(conv(across, add(across, "Softmax", {{"axis", int64_t{0}}}, {x}), 4, 4, 1, 1), "y");
  EXPECT_FALSE(divided(across, 8));
}

TEST(SubBatches, ABatchOfManyItemsIsNotCutIntoMoreThanSixteen) {
  const auto divided = in_sub_batches(wide_then_narrow(96), caches(8));
  ASSERT_TRUE(divided.ok() && divided->has_value());
  EXPECT_EQ(count(**divided, "Conv"), 2 * 16);
}

// No step copies: the parts of the input and of what is handed on are views; packed weights are shared.
TEST(SubBatches, AnEngineHoldsViewsAndEachWeightOnce) {
  const Graph whole = wide_then_narrow(6);
  const auto divided = in_sub_batches(whole, caches(8));
  ASSERT_TRUE(divided.ok() && divided->has_value());
  const auto data = compile_graph(**divided, {.target = "cpu", .threads = 2, .tune = false});
  ASSERT_TRUE(data.ok()) << data.status().message();
  std::set<std::vector<int>> packed;
  for (const Step& step : data->program.steps) {
    EXPECT_TRUE(step.op != "Split" && step.op != "Concat") << step.op;
    if (!step.packed.empty()) packed.insert(step.packed);
  }
  EXPECT_EQ(packed.size(), 2u);
  EXPECT_TRUE(program_from_json(to_json(data->program)).ok());
  const auto engine = LoadedEngine::make(EngineData(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  for (unsigned seed : {3u, 4u}) {
    const Tensor x = random_tensor({6, 32, 32, 4}, seed);
    ASSERT_TRUE(context.bind_input("x", x).ok());
    ASSERT_TRUE(context.run().ok());
    const auto want = interpret(whole, Tensors{x});
    ASSERT_TRUE(want.ok());
    for (int64_t i = 0; i < (*want)[0].count(); ++i) EXPECT_NEAR(context.outputs()[0].at(i), (*want)[0].at(i), 1e-5);
  }
}

}  // namespace
}  // namespace hone
