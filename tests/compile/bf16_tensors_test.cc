// Tensors that a CPU keeps in memory as bf16: what a graph becomes, checked by the reference, and engines of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends/cpu_fusion.h"
#include "backends/precision.h"
#include "compile/bf16.h"
#include "compile/compile.h"
#include "kernels/cpu/bf16/bf16.h"
#include "ops/fused.h"
#include "passes/pipeline.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::add;

const Machine kCpu{.bf16 = true};

class Bf16Tensors : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cpu::has_bf16_set(cpu::Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  }
};

size_t count_of(const Graph& g, std::string_view op, DType type) {
  const auto order = g.order();
  return static_cast<size_t>(std::ranges::count_if(
      order, [&](NodeId id) { return g.node(id).op.name() == op && g.type(g.node(id).outputs[0]).dtype == type; }));
}

Tensors inputs_of(const Graph& g) { return {testing::random_tensor(*g.type(g.inputs()[0]).shape.concrete(), 9)}; }

void expect_near(const Tensor& got, const Tensor& want, double tolerance) {
  ASSERT_EQ(got.type(), DType::f32);
  ASSERT_EQ(got.dims(), want.dims());
  for (int64_t i = 0; i < want.count(); ++i) ASSERT_NEAR(got.at(i), want.at(i), tolerance) << "element " << i;
}

// The result of an engine in which `least` steps read bf16.
Tensor run(const Graph& graph, size_t least, int threads) {
  auto data = compile_graph(graph, {.target = "cpu", .threads = threads, .bf16 = true, .tune = false});
  EXPECT_TRUE(data.ok()) << data.status().message();
  size_t stored = 0;
  for (const Step& step : data->program.steps) {
    EXPECT_NE(step.tactic, "reference") << step.label;
    stored += !step.input_types.empty() && step.input_types[0].dtype == DType::bf16;
  }
  EXPECT_GE(stored, least);
  const auto engine = LoadedEngine::make(std::move(*data));
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  EXPECT_TRUE(context.bind_input("x", inputs_of(graph)[0]).ok());
  EXPECT_TRUE(context.run().ok());
  return context.outputs()[0];
}

void check(const Graph& graph, size_t least, double tolerance) {
  const auto want = interpret(graph, inputs_of(graph));
  ASSERT_TRUE(want.ok()) << want.status().message();
  for (int threads : {1, 2}) expect_near(run(graph, least, threads), (*want)[0], tolerance);
}

TEST_F(Bf16Tensors, LieBetweenProducts) {
  const Graph before = testing::small_network();
  Graph now = before;
  EXPECT_FALSE(reduce_precision(now, DType::bf16, kCpu).values.empty());
  EXPECT_EQ(count_of(now, "Conv", DType::bf16), 2u);
  EXPECT_EQ(count_of(now, "MatMul", DType::bf16), 1u);
  EXPECT_EQ(count_of(now, "Reduce", DType::bf16), 1u);
  ASSERT_TRUE(fuse(now).ok());
  fuse_for_cpu(now, kCpu);
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  EXPECT_EQ(count_of(now, "Transpose", DType::f32), 0u) << "the image is cast as it is transposed";
  EXPECT_EQ(count_of(now, "Fused", DType::bf16), 3u) << to_text(now, {.max_inline = 4});
  // Ten roundings of probabilities of about 1/8, and of logits of about 1.
  const auto got = interpret(now, inputs_of(before)), want = interpret(before, inputs_of(before));
  ASSERT_TRUE(got.ok() && want.ok());
  expect_near((*got)[0], (*want)[0], 10 * 0x1p-8);
}

TEST_F(Bf16Tensors, AreNotMadeForOtherInstructions) {
  Graph now = testing::small_network();
  EXPECT_TRUE(reduce_precision(now, DType::bf16, {.max_tier = 1, .bf16 = true}).values.empty());
}

TEST_F(Bf16Tensors, OfAnImageClassifier) { check(testing::small_network(), 4, 10 * 0x1p-8); }

// A norm whose variance, a difference of means, nobody recognises: of values of 1 with a deviation of 1/16 it has 8
// bits less than the means.
TEST_F(Bf16Tensors, KeepStatisticsInF32) {
  Graph g;
  const auto pointwise = [&](const char* program, std::vector<ValueId> inputs) {
    return add(g, "Pointwise", {{"program", std::string(program)}}, std::move(inputs));
  };
  const auto mean = [&](ValueId v) {
    return add(g, "Reduce", {{"kind", std::string("mean")}},
               {v, g.add_constant(Tensor::vector(std::vector<int64_t>{-1}), "axes")});
  };
  Tensor ones(DType::f32, {64});
  for (int64_t i = 0; i < 64; ++i) ones.set(i, 1);
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{4, 32})});
  const ValueId h = add(
      g, "MatMul", {}, {x, g.add_constant(testing::random_tensor({32, 64}, 1, 0.03f), "w"), g.add_constant(ones, "b")});
  const ValueId average = mean(h), squares = mean(pointwise("in0:f32; square:f32(0)", {h}));
  const ValueId variance = pointwise("in0:f32; in1:f32; square:f32(1); sub:f32(0,2)", {squares, average});
  const ValueId norm =
      pointwise("in0:f32; in1:f32; in2:f32; sub:f32(0,1); rsqrt:f32(2); mul:f32(3,4)", {h, average, variance});
  g.add_output(add(g, "MatMul", {}, {norm, g.add_constant(testing::random_tensor({64, 8}, 2, 0.1f), "v")}), "y");
  g.add_output(variance, "variance");

  const auto kept = statistics(g);
  for (ValueId v : {average, squares, variance}) EXPECT_TRUE(kept.contains(v));
  EXPECT_FALSE(kept.contains(h));
  Graph now = g;
  reduce_precision(now, DType::bf16, kCpu, {.wide = kept});
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  EXPECT_EQ(count_of(now, "MatMul", DType::bf16), 2u);
  EXPECT_EQ(count_of(now, "Reduce", DType::bf16), 0u);
  const auto got = interpret(now, inputs_of(g)), want = interpret(g, inputs_of(g));
  ASSERT_TRUE(got.ok() && want.ok());
  // Rounding moves each value by up to 2^-8, and a variance by twice that times the deviation.
  for (int64_t i = 0; i < 4; ++i) {
    const double deviation = std::sqrt((*want)[1].at(i));
    EXPECT_GT(deviation, 0.03);
    EXPECT_NEAR((*got)[1].at(i), (*want)[1].at(i), 2 * 1.1 * 0x1p-8 * deviation);
  }
}

// Depthwise and pooled between pointwise convolutions, as in networks for phones.
TEST_F(Bf16Tensors, OfDepthwiseLayers) {
  Graph g;
  const auto conv = [&](ValueId from, int64_t cout, int64_t cin, int64_t size, int64_t groups, int64_t stride) {
    return add(g, "Conv",
               {{"strides", std::vector<int64_t>(2, stride)},
                {"dilations", std::vector<int64_t>{1, 1}},
                {"pads", std::vector<int64_t>(4, size / 2)},
                {"groups", groups},
                {"channels_last", true}},
               {from, g.add_constant(testing::random_tensor({cout, cin, size, size}, 3, 0.3f), "w"),
                g.add_constant(testing::random_tensor({cout}, 4), "b")});
  };
  const auto clip = [&](ValueId v) {
    return add(g, "Pointwise", {{"program", std::string("in0:f32; constant:f32(0); constant:f32(6); clip:f32(0,1,2)")}},
               {v});
  };
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{1, 13, 13, 8})});
  const ValueId wide = clip(conv(x, 24, 8, 1, 1, 1));
  const ValueId deep = clip(conv(wide, 24, 1, 3, 24, 1));
  const ValueId narrow = conv(deep, 8, 24, 1, 1, 1);
  const ValueId sum = add(g, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1)")}}, {narrow, x});
  const ValueId next = clip(conv(clip(conv(sum, 24, 8, 1, 1, 1)), 24, 1, 3, 24, 2));
  const ValueId pooled = add(g, "Pool",
                             {{"kind", std::string("max")},
                              {"kernel", std::vector<int64_t>{2, 2}},
                              {"strides", std::vector<int64_t>{2, 2}},
                              {"dilations", std::vector<int64_t>{1, 1}},
                              {"pads", std::vector<int64_t>(4, 0)},
                              {"channels_last", true}},
                             {next});
  g.add_output(conv(pooled, 5, 24, 1, 1, 1), "y");
  // Sums of some 24 products of values up to 6 and weights up to 0.3, in seven layers that round each factor.
  check(g, 7, 7 * 24 * 6 * 0.3 * 0x1p-8 / 4);
}

// Sums with a residual, normalised, as in transformers.
TEST_F(Bf16Tensors, OfNormalisedRows) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{2, 7, 48})});
  const auto product = [&](ValueId from, int64_t k, int64_t n, unsigned seed) {
    return add(g, "MatMul", {},
               {from, g.add_constant(testing::random_tensor({k, n}, seed, 0.2f), "w"),
                g.add_constant(testing::random_tensor({n}, seed + 1), "b")});
  };
  ValueId v = product(x, 48, 48, 1);
  for (unsigned layer = 0; layer < 2; ++layer) {
    const ValueId wide =
        add(g, "Pointwise", {{"program", std::string("in0:f32; gelu_erf:f32(0)")}}, {product(v, 48, 96, 3)});
    const ValueId sum = add(g, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1)")}},
                            {product(wide, 96, 48, 5), v});
    v = add(g, "LayerNorm", {{"axis", int64_t{-1}}, {"epsilon", 1e-5}},
            {sum, g.add_constant(testing::random_tensor({48}, 7), "scale"),
             g.add_constant(testing::random_tensor({48}, 8), "bias")});
  }
  g.add_output(product(v, 48, 11, 9), "y");
  // Values of about 1 that some ten roundings of 2^-8 reach, and sums of 48 of them by weights up to 0.2.
  check(g, 7, 10 * 0x1p-8 * 48 * 0.2);
}

// Positions by frequencies: of an angle of 300, bf16 would leave it within 2.
TEST_F(Bf16Tensors, LeaveOuterProductsInF32) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{5, 1})});
  const ValueId angles = add(g, "MatMul", {}, {x, g.add_constant(testing::random_tensor({1, 8}, 1), "w")});
  const ValueId waves = add(g, "Pointwise", {{"program", std::string("in0:f32; cos:f32(0)")}}, {angles});
  g.add_output(add(g, "MatMul", {}, {waves, g.add_constant(testing::random_tensor({8, 3}, 2), "v")}), "y");
  const auto now = store_in_bf16(g, kCpu);
  ASSERT_TRUE(now.has_value());
  EXPECT_EQ(count_of(*now, "MatMul", DType::bf16), 1u);
  EXPECT_EQ(now->type(now->node(now->order().front()).outputs[0]).dtype, DType::f32);
}

// Attention that is written out: no step falls back to fp32.
TEST_F(Bf16Tensors, OfProductsOfActivations) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{3, 10, 24})});
  const auto product = [&](unsigned seed) {
    return add(g, "MatMul", {}, {x, g.add_constant(testing::random_tensor({24, 16}, seed, 0.3f), "w")});
  };
  const ValueId scores = add(g, "MatMul", {{"trans_b", true}}, {product(1), product(2)});
  // Twice the weights, so that nothing takes it for attention.
  const ValueId weights = add(g, "Pointwise", {{"program", std::string("in0:f32; add:f32(0,0)")}},
                              {add(g, "Softmax", {{"axis", int64_t{-1}}}, {scores})});
  g.add_output(add(g, "MatMul", {}, {weights, product(3)}), "y");
  const auto now = store_in_bf16(g, kCpu);
  ASSERT_TRUE(now.has_value());
  EXPECT_EQ(count_of(*now, "MatMul", DType::bf16), 5u);
  // Scores of some 3 of three roundings each move the weights by that exponent's error, and values of some 3 with them.
  check(g, 5, 2 * 3 * (3 * 3 + 2) * 0x1p-8);
}

// A softmax and a resized image between products: no step falls back to fp32, but for the probabilities.
TEST_F(Bf16Tensors, OfSoftmaxesAndResizedImages) {
  Graph g;
  const auto conv = [&](ValueId from, int64_t cin, int64_t cout, unsigned seed) {
    return add(g, "Conv",
               {{"strides", std::vector<int64_t>{1, 1}},
                {"dilations", std::vector<int64_t>{1, 1}},
                {"pads", std::vector<int64_t>(4, 0)},
                {"channels_last", true}},
               {from, g.add_constant(testing::random_tensor({cout, cin, 1, 1}, seed, 0.3f), "w")});
  };
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{1, 5, 6, 8})});
  const ValueId weights = add(g, "Softmax", {{"axis", int64_t{-1}}}, {conv(x, 8, 24, 1)});
  Tensor scales(DType::f32, {4});
  for (int64_t i = 0; i < 4; ++i) scales.set(i, i == 1 || i == 2 ? 2 : 1);
  const ValueId large = add(g, "Resize", {{"mode", std::string("linear")}},
                            {weights, ValueId::none, g.add_constant(scales, "scales"), ValueId::none});
  g.add_output(add(g, "Softmax", {{"axis", int64_t{-1}}}, {conv(large, 24, 8, 2)}), "y");
  const auto now = store_in_bf16(g, kCpu);
  ASSERT_TRUE(now.has_value());
  EXPECT_EQ(count_of(*now, "Softmax", DType::bf16), 1u);
  EXPECT_EQ(count_of(*now, "Softmax", DType::f32), 1u);
  EXPECT_EQ(count_of(*now, "Resize", DType::bf16), 1u);
  // Probabilities that 24 values of at most 1 and four roundings each move by the exponent's error.
  check(g, 4, 4 * 0x1p-8);
}

// Three products in a row, engines that only list their steps, and times that are made up: "b" is said to be slower.
struct ThreeProducts {
  std::map<std::string, double> network_us;  // by the types of the products' results
  std::string slower = "b";
  std::vector<std::string> made = {};
  BuildSummary build = {};

  static Graph graph() {
    Graph g;
    ValueId v = g.add_input("x", {DType::f32, Shape::of(Dims{4, 16})});
    for (const char* name : {"a", "b", "c"}) {
      const ValueId w = g.add_constant(testing::random_tensor({16, 16}, 1), "w");
      v = g.node(*g.add_node(*make_op("MatMul", {}), {v, w}, 1, {name})).outputs[0];
    }
    g.add_output(v, "y");
    return g;
  }

  static EngineData lower(const Graph& g) {
    EngineData engine;
    for (const NodeId id : g.order()) {
      const Node& node = g.node(id);
      if (node.op.name() == "MatMul") engine.program.name += g.type(node.outputs[0]).dtype == DType::bf16 ? 'b' : 'f';
      Step step{.op = std::string(node.op.name()), .attrs = node.op.attrs(), .sources = node.sources};
      for (const ValueId v : node.inputs) step.input_types.push_back(g.type(v));
      engine.program.slots.push_back({.type = g.type(node.outputs[0])});
      step.outputs.push_back(static_cast<int>(engine.program.slots.size()) - 1);
      engine.program.steps.push_back(std::move(step));
    }
    return engine;
  }

  std::string choose(double left_us = 50) {
    const Bf16Ways ways{.lower = [&](const Graph& g, BuildSummary&) -> Result<EngineData> {
                          EngineData engine = lower(g);
                          made.push_back(engine.program.name);
                          return engine;
                        },
                        .time_us = [&](const EngineData& e) -> Result<double> {
                          const auto known = network_us.find(e.program.name);
                          if (known == network_us.end()) return invalid("{} was not expected", e.program.name);
                          return known->second;
                        },
                        .gains = [&](const EngineData&, const EngineData&) -> Result<Gains> {
                          return Gains{.won_us = {{"a", 10}, {"b", -50}, {"c", 10}},
                                       .slower = {{slower, "it is 50.0 us slower in bf16"}},
                                       .left_us = left_us,
                                       .network_us = 1000};
                        },
                        .out_of_time = [] { return false; }};
    auto engine = choose_bf16(graph(), kCpu, ways, build);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? engine->program.name : "";
  }

  std::vector<std::string> reasons() const {
    std::vector<std::string> list;
    for (const LayerPrecision& layer : build.layers) list.push_back(layer.name + ": " + layer.reason);
    return list;
  }
};

// One of two branches takes no data of this shape, and a random input chooses it.
TEST_F(Bf16Tensors, OfANetworkThatFailsOnRandomData) {
  Graph g = testing::small_network();
  const ValueId y = g.outputs()[0], rate = g.add_input("rate", {DType::i64, Shape::of(Dims{})});
  const std::string type = to_text(g.type(y));
  const auto branches = graph_from_text(fmt::format(R"g(graph "g" {{
  input %1 "c" : bool[]
  input %2 "x" : {0}
  %3 : {0} = If(%1, %2) {{else_branch=graph "e" {{
      %1 : {0} = Raise() {{message="the wrong rate", types=["{0}"]}}
      output %1 "y"
    }}, then_branch=graph "t" {{
      input %1 "x" : {0}
      output %1 "y"
    }}}}
  output %3 "y"
}}
)g",
                                                    type));
  ASSERT_TRUE(branches.ok()) << branches.status().message();
  const ValueId known =
      add(g, "Pointwise", {{"program", std::string("in0:i64; constant:i64(16000); equal:bool(0,1)")}}, {rate});
  const auto chosen = g.add_node(branches->node(branches->order()[0]).op, {known, y});
  ASSERT_TRUE(chosen.ok()) << chosen.status().message();
  g.add_output(g.node(*chosen).outputs[0], "chosen");
  const auto engine = compile_graph(g, {.target = "cpu", .threads = 1, .bf16 = true, .tune = false});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
}

TEST_F(Bf16Tensors, AreLeftOutWhereTheNetworkIsFasterSo) {
  using List = std::vector<std::string>;
  ThreeProducts mixed{.network_us = {{"fff", 900}, {"bbb", 1000}, {"bfb", 800}}};
  EXPECT_EQ(mixed.choose(), "bfb");
  EXPECT_EQ(mixed.made, (List{"fff", "bbb", "bfb"}));
  EXPECT_EQ(mixed.reasons(), (List{"a: faster as a whole", "b: it is 50.0 us slower in bf16", "c: faster as a whole"}));
  EXPECT_EQ(mixed.build.layers.at(1).won_us, -50);
  ASSERT_EQ(mixed.build.notes.size(), 2u);
  EXPECT_EQ(mixed.build.notes[1],
            "the network takes 0.800 ms with tensors in bf16 where layers are faster so, 0.900 ms without: they are");

  ThreeProducts all{.network_us = {{"fff", 900}, {"bbb", 700}, {"bfb", 800}}};
  EXPECT_EQ(all.choose(), "bbb");
  EXPECT_EQ(all.reasons(), (List{"a: faster as a whole", "b: faster as a whole", "c: faster as a whole"}));

  ThreeProducts none{.network_us = {{"fff", 600}, {"bbb", 700}, {"bfb", 800}}};
  EXPECT_EQ(none.choose(), "fff");
  EXPECT_EQ(none.reasons().at(1), "b: the whole network is faster with tensors in fp32");

  ThreeProducts little{.network_us = {{"fff", 900}, {"bbb", 1000}}};
  EXPECT_EQ(little.choose(5), "fff") << "half a percent is not worth another engine";

  ThreeProducts same{.network_us = {{"fff", 900}, {"bbb", 1000}}, .slower = "what is in fp32 already"};
  EXPECT_EQ(same.choose(), "fff");
  EXPECT_EQ(same.made, (List{"fff", "bbb"})) << "the third engine would be the second again";
}

}  // namespace
}  // namespace hone
