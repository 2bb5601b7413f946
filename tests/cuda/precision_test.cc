// What a GPU's graph is rewritten to, checked by the reference: it computes the same, in the types that are asked for.
#include "backends/precision.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends/gpu_fusion.h"
#include "ops/fused.h"
#include "passes/pipeline.h"
#include "small_network.h"

namespace hone {
namespace {

const Machine kHopper{.cuda_arch = "sm_90"};

size_t count_of(const Graph& g, std::string_view op, DType type) {
  const auto order = g.order();
  return static_cast<size_t>(std::count_if(order.begin(), order.end(), [&](NodeId id) {
    return g.node(id).op.name() == op && g.type(g.node(id).outputs[0]).dtype == type;
  }));
}

void expect_same(const Graph& now, const Graph& before, double tolerance) {
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  const Tensors inputs{testing::random_tensor({2, 3, 12, 12}, 9)};
  const auto got = interpret(now, inputs), want = interpret(before, inputs);
  ASSERT_TRUE(got.ok()) << got.status().message();
  ASSERT_TRUE(want.ok()) << want.status().message();
  ASSERT_EQ((*got)[0].type(), DType::f32);
  for (int64_t i = 0; i < (*want)[0].count(); ++i) EXPECT_NEAR((*got)[0].at(i), (*want)[0].at(i), tolerance);
}

TEST(Precision, WhatLiesBetweenConvolutionsIsReducedAndTheEdgesAreNot) {
  const Graph before = testing::small_network();
  for (const auto& [type, unit] : {std::pair{DType::f16, 11}, std::pair{DType::bf16, 8}}) {
    Graph now = before;
    reduce_precision(now, type, kHopper);
    EXPECT_EQ(count_of(now, "Conv", type), 2u);
    EXPECT_EQ(count_of(now, "MatMul", type), 1u);
    EXPECT_EQ(count_of(now, "Reduce", type), 1u);
    EXPECT_EQ(count_of(now, "Conv", DType::f32) + count_of(now, "MatMul", DType::f32), 0u);
    EXPECT_EQ(now.type(now.inputs()[0]).dtype, DType::f32);
    // Ten roundings of probabilities of about 1/8, and of logits of about 1.
    expect_same(now, before, 10 * std::ldexp(1.0, -unit));
  }
}

TEST(Precision, WeightsThatFp16CannotHoldStay) {
  const Graph before = testing::small_network(1e6f);
  Graph now = before;
  reduce_precision(now, DType::f16, kHopper);
  EXPECT_EQ(count_of(now, "Conv", DType::f32), 2u);
  EXPECT_EQ(count_of(now, "Conv", DType::f16), 0u);
  Graph wide = before;
  reduce_precision(wide, DType::bf16, kHopper);
  EXPECT_EQ(count_of(wide, "Conv", DType::bf16), 2u);
}

// An image with its channels last, and a 1x1 convolution of it.
std::pair<ValueId, ValueId> image_and_convolution(Graph& graph, int64_t channels) {
  const ValueId x = graph.add_input("x", {DType::f32, Shape::of(Dims{2, 3, 12, 12})});
  const ValueId image = testing::add(graph, "Transpose", {{"perm", std::vector<int64_t>{0, 2, 3, 1}}}, {x});
  const Tensor weights = testing::random_tensor({channels, 3, 1, 1}, 1);
  return {image, testing::add(graph, "Conv",
                              {{"strides", std::vector<int64_t>{1, 1}},
                               {"dilations", std::vector<int64_t>{1, 1}},
                               {"pads", std::vector<int64_t>(4, 0)},
                               {"channels_last", true}},
                              {image, graph.add_constant(weights, "w")})};
}

// In fp16 the scale is below 4/3, and an image of 12 would have 15 pixels.
TEST(Precision, ScalesOfAResizeKeepAllDigits) {
  Graph before;
  const ValueId conv = image_and_convolution(before, 4).second;
  Tensor scales(DType::f32, {4});
  for (int64_t i = 0; i < 4; ++i) scales.set(i, i % 3 == 0 ? 1 : 1.3334);
  before.add_output(testing::add(before, "Resize", {{"mode", std::string("linear")}},
                                 {conv, ValueId::none, before.add_constant(scales, "scales")}),
                    "y");
  Graph now = before;
  reduce_precision(now, DType::f16, kHopper);
  EXPECT_EQ(count_of(now, "Resize", DType::f16), 1u);
  expect_same(now, before, 10 * std::ldexp(1.0, -11));
}

// As in front of a vision transformer, where a token that is known comes first; one that is computed in f32 stays.
TEST(Precision, AConstantMayComeFirstInAConcat) {
  for (const bool known : {true, false}) {
    Graph before;
    const auto [image, conv] = image_and_convolution(before, 3);
    const ValueId token = known ? before.add_constant(testing::random_tensor({2, 1, 12, 3}, 2), "token") : image;
    before.add_output(testing::add(before, "Concat", {{"axis", int64_t{1}}}, {token, conv}), "y");
    Graph now = before;
    reduce_precision(now, DType::f16, kHopper);
    EXPECT_EQ(count_of(now, "Concat", DType::f16), known ? 1u : 0u);
    expect_same(now, before, 4 * std::ldexp(1.0, -11));  // the roundings of factors and of sums of 3 products
  }
}

TEST(Precision, FusionForAGpuComputesTheSame) {
  for (const DType type : {DType::none, DType::f16}) {
    Graph before = testing::small_network();
    if (type != DType::none) reduce_precision(before, type, kHopper);
    Graph now = before;
    ASSERT_TRUE(fuse(now).ok());
    fuse_for_gpu(now, kHopper);
    // The transposition, the cast and the activation are in the first convolution, the sum in the second.
    EXPECT_EQ(count_of(now, "Transpose", DType::f32) + count_of(now, "Transpose", type), 0u);
    EXPECT_EQ(count_of(now, "Conv", type == DType::none ? DType::f32 : type), 0u);
    EXPECT_EQ(count_of(now, Fused::kName, type == DType::none ? DType::f32 : type), 2u);
    expect_same(now, before, type == DType::none ? 1e-6 : 10 * std::ldexp(1.0, -11));
  }
}

}  // namespace
}  // namespace hone
