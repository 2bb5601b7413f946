#include <gtest/gtest.h>

#include "backends/integers.h"
#include "backends/nonnegative.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/pointwise.h"

namespace hone {
namespace {

constexpr const char* kSigned = "constant:f32(-127)";
constexpr const char* kPositive = "constant:f32(0)";

TensorType bytes(Dims dims) { return {DType::i8, Shape::of(dims)}; }
TensorType sums(int64_t rows, int64_t columns) { return {DType::i32, Shape::of(Dims{rows, columns})}; }

ValueId quantised(Graph& g, const char* low) {
  const ValueId s = g.add_input("sums", sums(3, 4));
  const auto program = pointwise_from_text(
      fmt::format("in0:i32; cast:f32(0); round:f32(1); {}; constant:f32(127); clip:f32(2,3,4); cast:i8(5)", low));
  EXPECT_TRUE(program.ok()) << program.status().message();
  return add_value(g, Pointwise{*program}, {s}, bytes({3, 4}));
}

// Whether the product is marked that reads `v`, 3 x 4 bytes or their transpose; it is added to `g`.
bool marked(Graph& g, ValueId v) {
  const ValueId weights = g.add_constant(Tensor(DType::i8, {g.type(v).shape.concrete()->at(1), 5}));
  const ValueId y = add_value(g, MatMul{}, {v, weights}, sums(g.type(v).shape.concrete()->at(0), 5));
  g.add_output(y, "y");
  mark_nonnegative(g);
  EXPECT_TRUE(verify(g).ok()) << verify(g).message();
  return g.node(g.value(y).producer).op.as<MatMul>()->nonnegative;
}

TEST(Nonnegative, BoundsOfElementwiseWork) {
  Graph g;
  EXPECT_TRUE(marked(g, quantised(g, kPositive)));
  g = Graph();
  EXPECT_FALSE(marked(g, quantised(g, kSigned)));
  g = Graph();
  EXPECT_FALSE(marked(g, g.add_input("x", bytes({3, 4}))));
}

TEST(Nonnegative, WhatMovesValuesKeepsTheirSign) {
  for (const char* low : {kPositive, kSigned}) {
    Graph g;
    const ValueId both = add_value(g, Concat{.axis = 0}, {quantised(g, kPositive), quantised(g, low)}, bytes({6, 4}));
    EXPECT_EQ(marked(g, add_value(g, Transpose{{1, 0}}, {both}, bytes({4, 6}))), low == kPositive);
  }
}

}  // namespace
}  // namespace hone
