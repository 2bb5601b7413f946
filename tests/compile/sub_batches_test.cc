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
  EXPECT_EQ(count(divided->value().graph, "Split"), 1);
  EXPECT_EQ(count(divided->value().graph, "Concat"), 1);
  EXPECT_EQ(count(divided->value().graph, "Conv"), 12);       // an item each: 32 KiB pass through a layer, and fit
  EXPECT_EQ(count(divided->value().graph, "Softmax"), 1);     // across the batch
  EXPECT_EQ(count(divided->value().graph, "Pointwise"), 12);  // 6 sums, and what continues the second convolution
  EXPECT_TRUE(verify(divided->value().graph).ok());
  const Tensor x = random_tensor({6, 32, 32, 4}, 9);
  const auto want = interpret(whole, Tensors{x}), got = interpret(divided->value().graph, Tensors{x});
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
  EXPECT_EQ(count(divided->value().graph, "Conv"), 2 * 16);
}

// No step copies: the parts of the input and of what is handed on are views; packed weights are shared.
TEST(SubBatches, AnEngineHoldsViewsAndEachWeightOnce) {
  const Graph whole = wide_then_narrow(6);
  const auto divided = in_sub_batches(whole, caches(8));
  ASSERT_TRUE(divided.ok() && divided->has_value());
  const auto data = compile_graph(divided->value().graph, {.target = "cpu", .threads = 2, .tune = false});
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

// Of each thread's three items, those of the first layers one after the other.
Divided shared_out() {
  auto divided = in_sub_batches(wide_then_narrow(6), caches(32), 2);
  EXPECT_TRUE(divided.ok() && divided->has_value());
  return std::move(**divided);
}

TEST(SubBatches, ThreadsShareOutABatchThatTheyDivide) {
  const Divided divided = shared_out();
  EXPECT_EQ(divided.change, "its batch shared out among 2 threads");
  EXPECT_EQ(count(divided.graph, "Split"), 3);
  EXPECT_EQ(count(divided.graph, "Concat"), 3);
  EXPECT_EQ(count(divided.graph, "Conv"), 12);
  EXPECT_EQ(count(divided.graph, "Pointwise"), 12);
  EXPECT_TRUE(verify(divided.graph).ok());
  const Tensor x = random_tensor({6, 32, 32, 4}, 9);
  const auto want = interpret(wide_then_narrow(6), Tensors{x}), got = interpret(divided.graph, Tensors{x});
  ASSERT_TRUE(want.ok() && got.ok());
  EXPECT_EQ((*want)[0], (*got)[0]);
  const auto odd = in_sub_batches(wide_then_narrow(6), caches(32), 4);
  ASSERT_TRUE(odd.ok() && odd->has_value());
  EXPECT_EQ((*odd)->change, "its first layers run for parts of the batch");
}

TEST(SubBatches, BranchesReadOnePartAlone) {
  const Graph graph = shared_out().graph;
  const auto branches = branches_of(graph, 2);
  std::array<int, 2> nodes{};
  for (const auto& [id, branch] : branches) ++nodes[static_cast<size_t>(branch)];
  EXPECT_EQ(nodes[0], nodes[1]);
  EXPECT_EQ(nodes[0], 6 + 6 + 2);  // Conv; Pointwise; the inner Split and Concat
  for (NodeId id : graph.order()) EXPECT_FALSE(graph.node(id).op.name() == "Softmax" && branches.contains(id));
  EXPECT_TRUE(branches_of(graph, 3).empty());
  EXPECT_TRUE(branches_of(graph, 1).empty());
}

TEST(SubBatches, ThreadsRunTheirSharesSideBySide) {
  const auto data = compile_graph(shared_out().graph, {.target = "cpu", .threads = 2, .tune = false});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const Program& program = data->program;
  EXPECT_EQ(program.streams(), 2);
  EXPECT_EQ(std::ranges::count(program.steps, 1, &Step::threads), std::ssize(program.steps) - 1);  // but the Softmax
  EXPECT_LE(program.memory.arena_bytes, program.memory.lower_bound_bytes * 1.05);
  const auto again = program_from_json(to_json(program));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->streams(), 2);
  EXPECT_TRUE(std::ranges::equal(again->steps, program.steps, {}, &Step::threads, &Step::threads));
  Program wrong = program;
  wrong.steps[0].stream = 2;
  EXPECT_FALSE(program_from_json(to_json(wrong)).ok());
  wrong = program;
  wrong.steps.back().threads = 2;
  EXPECT_FALSE(program_from_json(to_json(wrong)).ok());

  const auto engine = LoadedEngine::make(EngineData(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  for (const bool profiled : {false, true}) {
    ExecutionContext context(*engine);
    size_t steps = 0;
    if (profiled) context.profiler = [&](size_t, double) { ++steps; };
    for (unsigned seed = 0; seed < 50; ++seed) {
      const Tensor x = random_tensor({6, 32, 32, 4}, seed);
      ASSERT_TRUE(context.bind_input("x", x).ok());
      ASSERT_TRUE(context.run().ok());
      if (seed % 10 != 0) continue;
      const auto want = interpret(wide_then_narrow(6), Tensors{x});
      ASSERT_TRUE(want.ok());
      for (int64_t i = 0; i < (*want)[0].count(); ++i) ASSERT_NEAR(context.outputs()[0].at(i), (*want)[0].at(i), 1e-5);
    }
    EXPECT_EQ(steps, profiled ? 50 * program.steps.size() : 0);
  }
}

}  // namespace
}  // namespace hone
