#include <gtest/gtest.h>

#include <cmath>

#include "backends/quantize.h"
#include "kernels/cpu/int8/int8.h"
#include "ops/attention.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/shape.h"
#include "passes/passes.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::signal_to_noise_db;

const Machine kMachine{.max_tier = static_cast<int>(cpu::Tier::avx512)};
constexpr int64_t kLength = 16, kHeads = 2, kSize = 8, kWidth = kHeads * kSize;

// Attention on projections of one input, the values 20 times as large as the queries, and a product behind it.
struct Network {
  Graph graph;
  Tensor x = testing::random_tensor({1, kLength, kWidth}, 9);
  Thresholds ranges;
};

Network network() {
  Network n;
  Graph& g = n.graph;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{1, kLength, kWidth})});
  const auto product = [&](ValueId from, unsigned seed, float scale, const char* name) {
    const ValueId w = g.add_constant(testing::random_tensor({kWidth, kWidth}, seed, scale), "w");
    const ValueId y = g.node(*g.add_node(MatMul{}, {from, w}, 1, {name})).outputs[0];
    g.set_name(y, name);
    return y;
  };
  const auto reshaped = [&](ValueId from, const Dims& dims) {
    Tensor to(DType::i64, {static_cast<int64_t>(dims.size())});
    for (size_t i = 0; i < dims.size(); ++i) to.set(static_cast<int64_t>(i), static_cast<double>(dims[i]));
    return g.node(*g.add_node(Reshape{}, {from, g.add_constant(to)}, 1, {"reshape"})).outputs[0];
  };
  const Dims heads{1, kLength, kHeads, kSize};
  const ValueId q = reshaped(product(x, 1, 0.5F, "q"), heads), k = reshaped(product(x, 2, 0.5F, "k"), heads),
                v = reshaped(product(x, 3, 10.F, "v"), heads);
  const ValueId y = g.node(*g.add_node(Attention{.layout = "rows"}, {q, k, v}, 1, {"attention"})).outputs[0];
  const ValueId flat = reshaped(y, {1, kLength, kWidth});
  g.set_name(flat, "flat");
  g.add_output(product(flat, 4, 1, "out"), "y");
  const auto see = [&](const std::string& name, const Tensor& t) {
    for (int64_t i = 0; !name.empty() && is_float(t.type()) && i < t.count(); ++i)
      n.ranges[name].whole = std::max(n.ranges[name].whole, std::fabs(t.at(i)));
  };
  see("x", n.x);
  const auto ran = interpret(g, Tensors{n.x}, [&](NodeId id, std::span<const Tensor> values) {
    see(g.value(g.node(id).outputs[0]).name, values[0]);
  });
  EXPECT_TRUE(ran.ok());
  return n;
}

const Node* attention_of(const Graph& g) {
  for (NodeId id : g.order())
    if (g.node(id).op.as<Attention>() != nullptr) return &g.node(id);
  return nullptr;
}

double signal_to_noise_db(const Graph& got, const Graph& want, const Tensor& x) {
  const auto a = interpret(got, Tensors{x}), b = interpret(want, Tensors{x});
  EXPECT_TRUE(a.ok() && b.ok());
  return a.ok() && b.ok() ? signal_to_noise_db((*a)[0], (*b)[0]) : 0;
}

class QuantizeAttention : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cpu::has_int8_set(cpu::Int8Set::vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  }
};

// Uniform errors of half a step of 1/127 of values of a third of that: 42 dB a tensor, of which a path has a handful.
constexpr double kLeastDb = 30;

TEST_F(QuantizeAttention, IsInBytesWithAStepForEachOperand) {
  for (const bool packed : {false, true}) {
    const Network n = network();
    Graph now = n.graph;
    if (packed) {
      ASSERT_EQ(*merge_projections(now, INT_MAX), 1);
    }
    const Int8Network made = quantize(now, n.ranges, kMachine);
    for (const Int8Layer& layer : made.layers) EXPECT_EQ(layer.reason, "") << layer.name;
    EXPECT_EQ(made.layers.size(), packed ? 3u : 5u);
    ASSERT_TRUE(verify(now).ok()) << verify(now).message();
    const Node* node = attention_of(now);
    ASSERT_NE(node, nullptr);
    EXPECT_EQ(now.type(node->inputs[0]).dtype, DType::i8);
    EXPECT_EQ(now.type(node->outputs[0]).dtype, DType::i8);
    // From the values' steps to those of what the next product reads.
    EXPECT_NEAR(node->op.as<Attention>()->result_scale, n.ranges.at("v").whole / n.ranges.at("flat").whole, 1e-9);
    EXPECT_GT(signal_to_noise_db(now, n.graph, n.x), kLeastDb);
  }
}

// Attention of one head, whose result a product reads as it is: its channels, the last of which is 4 times as large,
// have steps that the product's weights make up for.
TEST_F(QuantizeAttention, ChannelsOfTheResultMayHaveSteps) {
  Graph g;
  const Dims dims{1, 1, kLength, kSize};
  Tensor values[] = {testing::random_tensor(dims, 1), testing::random_tensor(dims, 2), testing::random_tensor(dims, 3)};
  for (int64_t i = kSize - 1; i < values[2].count(); i += kSize) values[2].set(i, 4 * values[2].at(i));
  std::vector<ValueId> inputs;
  for (const char* name : {"q", "k", "v"}) inputs.push_back(g.add_input(name, {DType::f32, Shape::of(dims)}));
  const ValueId y = g.node(*g.add_node(Attention{.scale = 1}, inputs, 1, {"attention"})).outputs[0];
  g.set_name(y, "attended");
  Tensor weights = testing::random_tensor({kSize, kSize}, 4);
  for (int64_t i = weights.count() - kSize; i < weights.count(); ++i) weights.set(i, weights.at(i) / 4);
  const ValueId w = g.add_constant(weights, "w");
  g.add_output(g.node(*g.add_node(MatMul{}, {y, w}, 1, {"out"})).outputs[0], "y");
  Thresholds ranges;
  for (size_t i = 0; i < 3; ++i)
    for (int64_t e = 0; e < values[i].count(); ++e) {
      double& whole = ranges[g.value(inputs[i]).name].whole;
      whole = std::max(whole, std::fabs(values[i].at(e)));
    }
  Magnitude& attended = ranges["attended"];
  const auto ran = interpret(g, values, [&](NodeId id, std::span<const Tensor> made) {
    if (g.node(id).outputs[0] != y) return;
    attended.channels.resize(kSize);
    for (int64_t e = 0; e < made[0].count(); ++e) {
      double& own = attended.channels[static_cast<size_t>(e % kSize)];
      own = std::max(own, std::fabs(made[0].at(e)));
      attended.whole = std::max(attended.whole, own);
    }
  });
  ASSERT_TRUE(ran.ok());
  Graph now = g;
  const Int8Network made = quantize(now, ranges, kMachine);
  ASSERT_EQ(made.layers.size(), 2u);
  EXPECT_EQ(made.layers[1].steps.size(), static_cast<size_t>(kSize));
  const auto got = interpret(now, values);
  ASSERT_TRUE(got.ok());
  EXPECT_GT(signal_to_noise_db((*got)[0], (*ran)[0]), 25);
}

TEST_F(QuantizeAttention, ResultsThatFloatsReadAreFloats) {
  const Network n = network();
  Graph now = n.graph;
  quantize(now, n.ranges, kMachine, {"out"});
  const Node* node = attention_of(now);
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(now.type(node->inputs[0]).dtype, DType::i8);
  EXPECT_EQ(now.type(node->outputs[0]).dtype, DType::f32);
  EXPECT_GT(signal_to_noise_db(now, n.graph, n.x), kLeastDb);
}

TEST_F(QuantizeAttention, StaysInFloatsWhereItMust) {
  const auto stays = [](const Thresholds& ranges, const std::set<std::string>& floats, const Machine& machine) {
    Graph now = network().graph;
    const Int8Network made = quantize(now, ranges, machine, floats);
    EXPECT_EQ(now.type(attention_of(now)->inputs[0]).dtype, DType::f32);
    return made.layers.size();
  };
  const Network n = network();
  EXPECT_EQ(stays(n.ranges, {"attention"}, kMachine), 5u);  // which says so
  Thresholds few = n.ranges;
  few.erase("k");
  EXPECT_EQ(stays(few, {}, kMachine), 4u);
  EXPECT_EQ(stays(n.ranges, {}, {.max_tier = 1}), 4u);
}

}  // namespace
}  // namespace hone
