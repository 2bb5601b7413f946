// What becomes of products of u8 on machines with and without kernels for them, checked by the reference.
#include "backends/byte_products.h"

#include <gtest/gtest.h>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/quantize.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::add;
using testing::random_tensor;

const Machine kGpu{.cuda_arch = "sm_90"}, kCpu{.threads = 1};

Tensor bytes(const Dims& dims) {
  Tensor t(DType::i8, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.set_int(i, i * i * 37 % 256 - 128);
  return t;
}

int count(const Graph& g, std::string_view op, DType of_input = DType::none) {
  int n = 0;
  for (NodeId id : g.order())
    n += g.node(id).op.name() == op && (of_input == DType::none || g.type(g.node(id).inputs[0]).dtype == of_input);
  return n;
}

// x, quantised by its range, times `weights`; the outputs are the sums, the scale and the zero point.
Graph dynamic_product(const Op& op, const Dims& x, const Dims& weights) {
  Graph g;
  const auto quantised = g.add_node(DynamicQuantize{}, {g.add_input("x", {DType::f32, Shape::of(x)})}, 3);
  EXPECT_TRUE(quantised.ok());
  const std::vector<ValueId> values = g.node(*quantised).outputs;
  const auto product = g.add_node(op, {values[0], g.add_constant(bytes(weights), "w")});
  EXPECT_TRUE(product.ok()) << product.status().message();
  g.add_output(g.node(*product).outputs[0], "sums");
  g.add_output(values[1], "scale");
  g.add_output(values[2], "zero");
  return g;
}

void expect_same(const Graph& before, const Graph& now, const Tensor& x) {
  const auto want = interpret(before, Tensors{x}), got = interpret(now, Tensors{x});
  ASSERT_TRUE(want.ok() && got.ok());
  for (size_t k = 0; k < want->size(); ++k) EXPECT_TRUE((*got)[k] == (*want)[k]) << "output " << k;
}

TEST(ByteProducts, StayWhereTheyHaveKernels) {
  Graph g = dynamic_product(MatMul{}, {5, 48}, {48, 32});
  const Graph before = g;
  EXPECT_FALSE(adapt_byte_products(g, kCpu));
  EXPECT_TRUE(equal(g, before));
}

// Of e4m3 by e4m3 on a CPU; a GPU's kernels take them as they are.
TEST(ByteProducts, OfE4m3AreOfTheSameNumbersInF32) {
  const auto product = [](const Op& op, const Dims& x, const Dims& weights) {
    Graph g;
    const auto rounded = pointwise_from_text("in0:f32; cast_saturate:f8e4m3fn(0)");
    const auto codes = g.add_node(Pointwise{*rounded}, {g.add_input("x", {DType::f32, Shape::of(x)})});
    Tensor w(DType::f8e4m3fn, weights);
    const Tensor random = random_tensor(weights, 3, 9);
    for (int64_t i = 0; i < w.count(); ++i) w.set(i, random.at(i));
    const auto made = g.add_node(op, {g.node(*codes).outputs[0], g.add_constant(w, "w")});
    EXPECT_TRUE(made.ok()) << made.status().message();
    g.add_output(g.node(*made).outputs[0], "sums");
    return g;
  };
  const Conv conv{.strides = {1, 1}, .dilations = {1, 1}, .pads = {1, 0, 1, 0}, .channels_last = true};
  for (const Graph& before : {product(MatMul{}, {5, 48}, {48, 32}), product(conv, {1, 6, 7, 8}, {16, 8, 3, 3})}) {
    Graph now = before;
    EXPECT_FALSE(adapt_byte_products(now, kGpu));
    ASSERT_TRUE(adapt_byte_products(now, kCpu));
    for (const NodeId id : now.order()) {
      const Node& node = now.node(id);
      if (node.op.as<Pointwise>() != nullptr) continue;
      for (const ValueId v : node.inputs) EXPECT_EQ(now.type(v).dtype, DType::f32);
    }
    expect_same(before, now, random_tensor(*before.type(before.inputs()[0]).shape.concrete(), 1, 100));
  }
}

TEST(ByteProducts, AreOfI8WhereOnlyTheseHaveKernels) {
  const Conv conv{.strides = {1, 1}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}, .channels_last = true};
  for (const auto& [op, x, weights] : {std::tuple<Op, Dims, Dims>(MatMul{}, {5, 48}, {48, 32}),
                                       {MatMul{.trans_b = true}, {5, 48}, {32, 48}},
                                       {conv, {2, 6, 5, 16}, {32, 16, 3, 3}}}) {
    Graph g = dynamic_product(op, x, weights);
    const Graph before = g;
    EXPECT_TRUE(adapt_byte_products(g, kGpu));
    ASSERT_TRUE(verify(g).ok()) << verify(g).message();
    EXPECT_EQ(count(g, "DynamicQuantize"), 0);
    EXPECT_EQ(count(g, op.name(), DType::u8), 0);
    EXPECT_EQ(count(g, op.name(), DType::i8), 1) << to_text(g, {.max_inline = 4});
    expect_same(before, g, random_tensor(x, 3, 2));
    expect_same(before, g, Tensor(DType::f32, x));
  }
}

// 0 is no value of i8 that stands for 0 of u8.
TEST(ByteProducts, PaddedOnesStay) {
  const Conv conv{.strides = {1, 1}, .dilations = {1, 1}, .pads = {1, 1, 1, 1}, .channels_last = true};
  Graph g = dynamic_product(conv, {2, 6, 5, 16}, {32, 16, 3, 3});
  EXPECT_TRUE(adapt_byte_products(g, kGpu));
  EXPECT_EQ(count(g, "Conv", DType::u8), 1);
}

}  // namespace
}  // namespace hone
