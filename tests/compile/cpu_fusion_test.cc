#include "backends/cpu_fusion.h"

#include <gtest/gtest.h>

#include "backends/integers.h"
#include "base/cpu_info.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "passes/fuse/body.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

// An image whose planes are quantised and then moved to the end.
Graph planes(Fn fn) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{2, 3, 4, 5})});
  const ValueId q = add_value(g, Pointwise{quantizing(DType::i8, fn, 0.25f)}, {x}, {DType::i8, g.type(x).shape});
  const ValueId y = add_value(g, Transpose{{0, 2, 3, 1}}, {q}, {DType::i8, Shape::of(Dims{2, 4, 5, 3})});
  g.add_output(y, "y");
  return g;
}

TEST(CpuFusion, PlanesAreQuantisedAndMovedAtOnce) {
  for (Fn fn : {Fn::mul, Fn::div}) {
    Graph g = planes(fn);
    const Graph before = g;
    fuse_for_cpu(g, {});
    ASSERT_EQ(g.node_count(), 1u);
    EXPECT_NE(g.node(g.order()[0]).op.as<Fused>(), nullptr);
    EXPECT_TRUE(verify(g).ok());
    Tensor x(DType::f32, {2, 3, 4, 5});
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<double>(i) - 60);
    const auto want = interpret(before, Tensors{x}), got = interpret(g, Tensors{x});
    ASSERT_TRUE(want.ok() && got.ok());
    EXPECT_EQ((*want)[0], (*got)[0]);
  }
}

TEST(CpuFusion, QuantisedPlanesThatOthersReadStay) {
  Graph g = planes(Fn::mul);
  g.add_output(g.node(g.order()[0]).outputs[0], "q");
  fuse_for_cpu(g, {});
  EXPECT_EQ(g.node_count(), 2u);
}

// A convolution, a relu and the maxima of 2x2, of an image whose rows exceed L2 `times` times.
Graph pooled(int64_t times, bool indices = false) {
  Graph g;
  const int64_t width = cpu::cpu_info().l2 / (8 * 64 * 4);
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{1, 8 * times, width, 64})});
  Tensor weights(DType::f32, {64, 64, 3, 3});
  for (int64_t i = 0; i < weights.count(); ++i) weights.set(i, static_cast<double>(i % 5) - 2);
  const Conv conv{.strides = {1, 1}, .dilations = {1, 1}, .pads = {1, 1, 1, 1}, .channels_last = true};
  const Pool pool{
      .kernel = {2, 2}, .strides = {2, 2}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}, .channels_last = true};
  const NodeId convolved = *g.add_node(conv, {x, g.add_constant(weights)});
  const PointwiseProgram relu{{{.fn = Fn::input, .type = DType::f32, .input = 0},
                               {.fn = Fn::relu, .type = DType::f32, .operand = {0, -1, -1}}}};
  const NodeId above = *g.add_node(Pointwise{relu}, {g.node(convolved).outputs[0]});
  const NodeId maxima = *g.add_node(pool, {g.node(above).outputs[0]}, indices ? 2 : 1);
  g.add_output(g.node(maxima).outputs[0], "y");
  if (indices) g.add_output(g.node(maxima).outputs[1], "indices");
  return g;
}

TEST(CpuFusion, MaximaAreTakenOfRowsOfAConvolution) {
  Graph g = pooled(3);
  const Graph before = g;
  // As passes leave it.
  const auto fuse = [](Graph& graph, const Machine& machine) {
    std::vector<ValueId> inputs;
    const auto order = graph.order();
    const Op op = fused_op(graph, order[0], order[1], inputs);
    const ValueId result = rewrite::output(graph, order[1]);
    rewrite::replace(graph, result, rewrite::emit(graph, op, inputs, {order[0], order[1]}));
    fuse_for_cpu(graph, machine);
  };
  fuse(g, {.threads = 2});
  ASSERT_EQ(g.node_count(), 1u);
  EXPECT_TRUE(verify(g).ok());
  Graph fits = before;
  fuse(fits, {.threads = 3});
  EXPECT_EQ(fits.node_count(), 2u);
  Graph indices = pooled(3, true);
  fuse(indices, {.threads = 2});
  EXPECT_EQ(indices.node_count(), 2u);
}

// A 1x1 convolution and a depthwise one, with what is between them `times` as large as L2.
Graph expanded(int64_t times, bool bias = true) {
  Graph g;
  const int64_t channels = 16, width = cpu::cpu_info().l2 / (8 * channels * 4);
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{1, 8 * times, width, 4})});
  const auto filled = [&](const Dims& dims) {
    Tensor t(DType::f32, dims);
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(i % 5) - 2);
    return g.add_constant(t);
  };
  const Conv dense{.strides = {1, 1}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}, .channels_last = true};
  const Conv depthwise{
      .strides = {1, 1}, .dilations = {1, 1}, .pads = {1, 1, 1, 1}, .groups = channels, .channels_last = true};
  std::vector<ValueId> reads{x, filled({channels, 4, 1, 1})};
  if (bias) reads.push_back(filled({channels}));
  const ValueId between = g.node(*g.add_node(dense, reads)).outputs[0];
  const NodeId last = *g.add_node(depthwise, {between, filled({channels, 1, 3, 3}), filled({channels})});
  g.add_output(g.node(last).outputs[0], "y");
  return g;
}

TEST(CpuFusion, DepthwiseConvolutionsReadRowsOfTheOneBefore) {
  Graph g = expanded(5);
  fuse_for_cpu(g, {.threads = 2});
  EXPECT_EQ(g.node_count(), 1u);
  EXPECT_TRUE(verify(g).ok());
  fuse_for_cpu(g, {.threads = 2});
  EXPECT_EQ(g.node_count(), 1u);
  Graph small = expanded(1), other = expanded(5, false), read = expanded(5);
  fuse_for_cpu(small, {.threads = 2});
  EXPECT_EQ(small.node_count(), 2u);
  fuse_for_cpu(other, {.threads = 2});
  EXPECT_EQ(other.node_count(), 2u);
  read.add_output(read.node(read.order()[0]).outputs[0], "between");
  fuse_for_cpu(read, {.threads = 2});
  EXPECT_EQ(read.node_count(), 2u);
}

}  // namespace
}  // namespace hone
