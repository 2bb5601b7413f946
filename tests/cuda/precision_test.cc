// What a GPU's graph is rewritten to, checked by the reference: it computes the same, in the types that are asked for.
#include "backends/precision.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backends/gpu_fusion.h"
#include "ops/fused.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

const Machine kHopper{.cuda_arch = "sm_90"};

Tensor random_tensor(Dims dims, unsigned seed, float scale = 1) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i)
    t.mutable_data<float>()[i] = scale * (static_cast<float>(random() % 2001) / 1000.0f - 1.0f);
  return t;
}

ValueId add(Graph& g, const char* op, const Attrs& attrs, std::vector<ValueId> inputs) {
  auto made = make_op(op, attrs);
  EXPECT_TRUE(made.ok()) << op;
  const auto node = g.add_node(*made, std::move(inputs), 1, {op});
  EXPECT_TRUE(node.ok()) << op << ": " << node.status().message();
  return g.node(*node).outputs[0];
}

// An image in channels-first order, two convolutions with a residual sum, pooling, a classifier and its softmax.
Graph small_network(float weight_scale = 0.3f) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{2, 3, 12, 12})});
  const auto conv = [&](ValueId from, int64_t cin, int64_t cout, int64_t size, unsigned seed) {
    return add(g, "Conv",
               {{"strides", std::vector<int64_t>{1, 1}},
                {"dilations", std::vector<int64_t>{1, 1}},
                {"pads", std::vector<int64_t>(4, size / 2)},
                {"channels_last", true}},
               {from, g.add_constant(random_tensor({cout, cin, size, size}, seed, weight_scale), "w"),
                g.add_constant(random_tensor({cout}, seed + 1), "b")});
  };
  const ValueId image = add(g, "Transpose", {{"perm", std::vector<int64_t>{0, 2, 3, 1}}}, {x});
  const ValueId stem = conv(image, 3, 16, 3, 1);
  const ValueId relu = add(g, "Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {stem});
  const ValueId second = conv(relu, 16, 16, 3, 3);
  const ValueId sum =
      add(g, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1); silu:f32(2)")}}, {second, relu});
  const ValueId mean = add(g, "Reduce", {{"kind", std::string("mean")}},
                           {sum, g.add_constant(Tensor::vector(std::vector<int64_t>{1, 2}), "axes")});
  const ValueId flat =
      add(g, "Reshape", {}, {mean, g.add_constant(Tensor::vector(std::vector<int64_t>{2, 16}), "shape")});
  const ValueId logits = add(g, "MatMul", {}, {flat, g.add_constant(random_tensor({16, 8}, 5), "classifier")});
  g.add_output(add(g, "Softmax", {{"axis", int64_t{-1}}}, {logits}), "y");
  return g;
}

size_t count_of(const Graph& g, std::string_view op, DType type) {
  const auto order = g.order();
  return static_cast<size_t>(std::count_if(order.begin(), order.end(), [&](NodeId id) {
    return g.node(id).op.name() == op && g.type(g.node(id).outputs[0]).dtype == type;
  }));
}

void expect_same(const Graph& now, const Graph& before, double tolerance) {
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  const Tensors inputs{random_tensor({2, 3, 12, 12}, 9)};
  const auto got = interpret(now, inputs), want = interpret(before, inputs);
  ASSERT_TRUE(got.ok()) << got.status().message();
  ASSERT_TRUE(want.ok()) << want.status().message();
  ASSERT_EQ((*got)[0].type(), DType::f32);
  for (int64_t i = 0; i < (*want)[0].count(); ++i) EXPECT_NEAR((*got)[0].at(i), (*want)[0].at(i), tolerance);
}

TEST(Precision, WhatLiesBetweenConvolutionsIsReducedAndTheEdgesAreNot) {
  const Graph before = small_network();
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
  const Graph before = small_network(1e6f);
  Graph now = before;
  reduce_precision(now, DType::f16, kHopper);
  EXPECT_EQ(count_of(now, "Conv", DType::f32), 2u);
  EXPECT_EQ(count_of(now, "Conv", DType::f16), 0u);
  Graph wide = before;
  reduce_precision(wide, DType::bf16, kHopper);
  EXPECT_EQ(count_of(wide, "Conv", DType::bf16), 2u);
}

TEST(Precision, FusionForAGpuComputesTheSame) {
  for (const DType type : {DType::none, DType::f16}) {
    Graph before = small_network();
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
