// Networks that overflow fp16 or do not, as they are rewritten for a GPU and computed by the reference.
#include "backends/fp16_range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "small_network.h"

namespace hone {
namespace {

using testing::add;

const Machine kHopper{.cuda_arch = "sm_90"};

ValueId pointwise(Graph& g, const std::string& program, std::vector<ValueId> inputs) {
  return add(g, "Pointwise", {{"program", program}}, std::move(inputs));
}

ValueId dense(Graph& g, ValueId x, int64_t in, int64_t out, float scale, unsigned seed = 1) {
  return add(g, "MatMul", {}, {x, g.add_constant(testing::random_tensor({in, out}, seed, scale), "w")});
}

std::vector<std::string> reduce(Graph& graph, const Thresholds& ranges = {}, SeenRanges seen = {}) {
  const auto notes = reduce_safely(graph, DType::f16, kHopper, ranges, false, seen);
  EXPECT_TRUE(notes.ok()) << notes.status().message();
  EXPECT_TRUE(verify(graph).ok()) << verify(graph).message();
  return notes.ok() ? *notes : std::vector<std::string>();
}

Tensor run(const Graph& graph, const Tensors& inputs) {
  const auto outputs = interpret(graph, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  return outputs.ok() ? (*outputs)[0] : Tensor();
}

void expect_near(const Tensor& now, const Tensor& before, double tolerance) {
  ASSERT_EQ(now.dims(), before.dims());
  for (int64_t i = 0; i < before.count(); ++i) EXPECT_NEAR(now.at(i), before.at(i), tolerance) << i;
}

DType type_of(const Graph& graph, std::string_view name) {
  for (NodeId id : graph.order())
    for (ValueId v : graph.node(id).outputs)
      if (graph.value(v).name == name && graph.node(id).sources[0].find("cast") != 0) return graph.type(v).dtype;
  ADD_FAILURE() << name;
  return DType::none;
}

// Of notes that name an island, not of what they were found on.
size_t islands(const std::vector<std::string>& notes) {
  return static_cast<size_t>(
      std::ranges::count_if(notes, [](const std::string& n) { return n.find("stays in fp32") != std::string::npos; }));
}

TEST(Fp16Range, WhatOverflowsIsAnIslandAndNothingElse) {
  const Graph before = testing::squaring_network(100);
  const Tensors inputs{testing::random_tensor({4, 16}, 3)};
  Graph unsafe = before, now = before;
  reduce_precision(unsafe, DType::f16, kHopper);
  const auto values = run(unsafe, inputs).to_doubles();
  EXPECT_TRUE(std::ranges::any_of(values, [](double v) { return !(std::fabs(v) < 1); }));

  const auto notes = reduce(now);
  EXPECT_EQ(islands(notes), 1u);
  EXPECT_NE(notes[0].find("'square' stays in fp32"), std::string::npos) << notes[0];
  EXPECT_NE(notes[0].find("random data"), std::string::npos) << notes[0];
  EXPECT_NE(notes.back().find("--calibrate"), std::string::npos) << notes.back();
  EXPECT_EQ(type_of(now, "product"), DType::f16);
  EXPECT_EQ(type_of(now, "square"), DType::f32);
  expect_near(run(now, inputs), run(before, inputs), 10 * std::ldexp(1.0, -11));
}

TEST(Fp16Range, StrictnessNamesEverythingInOneLine) {
  Graph graph = testing::squaring_network(100);
  const Graph before = graph;
  SeenRanges seen, of_fits;
  const auto refused = reduce_safely(graph, DType::f16, kHopper, {}, true, seen);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::unsupported);
  EXPECT_NE(refused.status().message().find("'square'"), std::string::npos) << refused.status().message();
  EXPECT_EQ(refused.status().message().find('\n'), std::string::npos);
  EXPECT_TRUE(equal(graph, before));
  Graph fits = testing::squaring_network(1);
  EXPECT_TRUE(reduce_safely(fits, DType::f16, kHopper, {}, true, of_fits).ok());
  EXPECT_TRUE(reduce_safely(graph, DType::bf16, kHopper, {}, true, seen).ok());
}

TEST(Fp16Range, WhatFitsHasNoIsland) {
  for (const Graph& before : {testing::squaring_network(1), testing::small_network()}) {
    Graph now = before, plain = before;
    EXPECT_EQ(islands(reduce(now)), 0u);
    reduce_precision(plain, DType::f16, kHopper);
    EXPECT_TRUE(equal(now, plain));
  }
}

TEST(Fp16Range, ALargeProductAndItsReadersStayInFp32) {
  Graph before;
  const ValueId x = before.add_input("x", {DType::f32, Shape::of(Dims{4, 16})});
  const ValueId large = dense(before, dense(before, x, 16, 64, 0.2f), 64, 64, 3e4f, 2);
  before.set_name(large, "large");
  const ValueId flat =
      add(before, "Reshape", {}, {large, before.add_constant(Tensor::vector(std::vector<int64_t>{2, 128}), "shape")});
  before.add_output(add(before, "Softmax", {}, {dense(before, flat, 128, 8, 1e-6f, 4)}), "y");
  Graph now = before;
  const auto notes = reduce(now);
  EXPECT_EQ(islands(notes), 2u);  // the product and its view
  EXPECT_EQ(type_of(now, "large"), DType::f32);
  const Tensors inputs{testing::random_tensor({4, 16}, 3)};
  expect_near(run(now, inputs), run(before, inputs), 10 * std::ldexp(1.0, -11));
}

TEST(Fp16Range, AConstantThatFp16CannotHoldIsNamed) {
  Graph graph = testing::small_network(1e6f);
  const auto notes = reduce(graph);
  ASSERT_FALSE(notes.empty());
  EXPECT_NE(notes[0].find("its constant 'w' reaches 9.97e+05"), std::string::npos) << notes[0];
}

TEST(Fp16Range, RangesOfACalibrationDecide) {
  const Graph before = testing::squaring_network(1);
  // Typical data reaches further than random data does.
  Graph now = before;
  auto notes = reduce(now, {{"x", {20, {}, 25}}, {"product", {50, {}, 200}}, {"square", {9e3, {}, 4e4}}});
  ASSERT_GE(notes.size(), 1u);
  EXPECT_NE(notes[0].find("it reaches 4e+04 on the data of the calibration"), std::string::npos) << notes[0];
  EXPECT_EQ(type_of(now, "square"), DType::f32);
  EXPECT_EQ(type_of(now, "product"), DType::f16);
  // What is not clipped says all there is to know: no random data is needed, and what lies between follows.
  now = before;
  EXPECT_EQ(reduce(now, {{"x", {1, {}, 1}}, {"product", {10, {}, 20}}}), std::vector<std::string>());
  // A threshold alone does not.
  now = before;
  notes = reduce(now, {{"x", {1}}, {"product", {10}}, {"square", {400}}});
  EXPECT_EQ(islands(notes), 0u);
  EXPECT_EQ(notes.size(), 1u);
}

// The engines of a build have tensors of the same names, and so one run for all: of small weights here, which the
// second network does not have.
TEST(Fp16Range, WhatWasSeenOnceIsKnown) {
  SeenRanges seen;
  Graph first = testing::squaring_network(1);
  ASSERT_TRUE(reduce_safely(first, DType::f16, kHopper, {}, false, seen).ok());
  EXPECT_TRUE(seen.contains("square"));
  Graph known = testing::squaring_network(100), unknown = known;
  const auto notes = reduce(known, {}, seen);
  EXPECT_EQ(islands(notes), 0u);
  EXPECT_NE(notes.back().find("seen on random data alone"), std::string::npos) << notes.back();
  EXPECT_EQ(islands(reduce(unknown)), 1u);
  // One more tensor, and all are looked at again: what was seen before counts as well.
  seen.erase("square");
  Graph again = testing::squaring_network(100);
  EXPECT_EQ(islands(reduce(again, {}, seen)), 1u);
}

TEST(Fp16Range, ANetworkThatIsTooLargeRunsForOneItemOrNot) {
  const auto network = [](Dims x) {
    Graph g;
    const ValueId in = g.add_input("x", {DType::f32, Shape::of(x)});
    g.add_output(dense(g, in, x.back(), 1024, 100), "y");
    return g;
  };
  Graph divided = network({400000, 128, 2}), whole = network({1, 250000000, 2});
  const auto of_one = reduce(divided), of_none = reduce(whole);
  ASSERT_EQ(of_one.size(), 1u);
  EXPECT_NE(of_one[0].find("random data alone"), std::string::npos) << of_one[0];
  ASSERT_EQ(of_none.size(), 1u);
  EXPECT_NE(of_none[0].find("is not known: a run of the network takes 512 G multiply-adds"), std::string::npos)
      << of_none[0];
}

// Attention of 4 queries over 6 keys as exporters spell it. `bias` makes what is added to the scores of the keys'
// mask, an input that is 1 where a key counts; `fused` has one node for all of it.
Graph attention(const std::string& bias, bool fused) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{3, 6, 16})});
  const ValueId mask = g.add_input("mask", {DType::i64, Shape::of(Dims{3, 1, 6})});
  const ValueId q = dense(g, x, 16, 16, 0.5f, 1), k = dense(g, x, 16, 16, 0.5f, 2), v = dense(g, x, 16, 16, 0.5f, 3);
  ValueId added = pointwise(g, bias, {mask}), y = ValueId::none;
  if (fused) {
    const auto heads = [&](ValueId from, std::vector<int64_t> dims) {
      return add(g, "Reshape", {}, {from, g.add_constant(Tensor::vector(dims), "shape")});
    };
    const std::vector<int64_t> dims{3, 1, 6, 16};
    y = add(g, "Attention", {}, {heads(q, dims), heads(k, dims), heads(v, dims), heads(added, {3, 1, 1, 6})});
    y = heads(y, {3, 6, 16});
  } else {
    const ValueId scores = add(g, "MatMul", {{"trans_b", true}}, {q, k});
    const ValueId masked =
        pointwise(g, "in0:f32; constant:f32(0.25); mul:f32(0,1); in1:f32; add:f32(2,3)", {scores, added});
    g.set_name(masked, "masked");
    y = add(g, "MatMul", {}, {add(g, "Softmax", {}, {masked}), v});
  }
  g.add_output(dense(g, y, 16, 8, 0.5f, 4), "y");
  return g;
}

constexpr const char* kAdded = "in0:i64; cast:f32(0); constant:f32(1); sub:f32(2,1); constant:f32({}); mul:f32(3,4)";
constexpr const char* kChosen = "in0:i64; cast:bool(0); constant:f32(0); constant:f32({}); where:f32(1,2,3)";

// All keys, some, and none.
Tensors attention_inputs() {
  Tensor mask(DType::i64, {3, 1, 6});
  for (int64_t i = 0; i < 9; ++i) mask.set_int(i, 1);
  return {testing::random_tensor({3, 6, 16}, 7), mask};
}

TEST(Fp16Range, MasksForceNothingOutOfFp16) {
  for (const auto& [form, least] : {std::pair{kAdded, "-10000"}, std::pair{kAdded, "-1000000000"},
                                    std::pair{kAdded, "-3.4028234663852886e+38"}, std::pair{kChosen, "-inf"}})
    for (const bool fused : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", least, fused));
      const Graph before = attention(fmt::format(fmt::runtime(form), least), fused);
      for (const Thresholds& ranges : {Thresholds{}, Thresholds{{"masked", {1, {}, 1e9}}}}) {
        Graph now = before;
        EXPECT_EQ(islands(reduce(now, ranges)), 0u);
        for (NodeId id : now.order())
          if (const auto op = now.node(id).op.name(); op == "MatMul" || op == "Softmax" || op == "Attention") {
            EXPECT_EQ(now.type(now.node(id).outputs[0]).dtype, DType::f16) << now.label(id);
          }
        const Tensor got = run(now, attention_inputs()), want = run(before, attention_inputs());
        for (int64_t i = 0; i < want.count(); ++i) {
          EXPECT_TRUE(std::isfinite(got.at(i))) << i;
          // Where all keys are masked, infinities leave a softmax in fp32 without an answer, and scores near -10000 are
          // multiples of 8 in fp16.
          const bool none = i >= want.count() / 3 * 2;
          if (!std::isnan(want.at(i)) && (!none || fused || std::string_view(least) != "-10000")) {
            EXPECT_NEAR(got.at(i), want.at(i), 0.01) << i;
          }
        }
      }
    }
}

TEST(Fp16Range, EpsilonsThatFp16CannotHoldStayInFp32) {
  Graph before;
  const ValueId x = before.add_input("x", {DType::f32, Shape::of(Dims{4, 16})});
  const ValueId norm =
      add(before, "LayerNorm", {{"epsilon", 1e-12}, {"rms", true}}, {dense(before, x, 16, 16, 0.5f, 1)});
  const ValueId unit =
      pointwise(before, "in0:f32; square:f32(0); constant:f32(1e-12); add:f32(1,2); rsqrt:f32(3); mul:f32(0,4)",
                {dense(before, norm, 16, 16, 0.5f, 2)});
  before.set_name(unit, "unit");
  before.add_output(dense(before, unit, 16, 8, 0.5f, 3), "y");
  Graph now = before;
  EXPECT_EQ(islands(reduce(now)), 0u);
  EXPECT_EQ(type_of(now, "unit"), DType::f16);
  Tensor some = testing::random_tensor({4, 16}, 3);
  for (int64_t i = 0; i < 16; ++i) some.set(i, 0);  // a row without variance
  expect_near(run(now, {some}), run(before, {some}), 0.02);
}

}  // namespace
}  // namespace hone
