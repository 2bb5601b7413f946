#include "backends/cpu_fusion.h"

#include <gtest/gtest.h>

#include "backends/integers.h"
#include "ops/fused.h"
#include "ops/movement.h"
#include "ops/pointwise.h"

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

}  // namespace
}  // namespace hone
