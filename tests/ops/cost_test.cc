#include "ops/cost.h"

#include <gtest/gtest.h>

#include "ir/graph.h"

namespace hone {
namespace {

// Of the nodes of a graph that is given as text.
double operations(std::string_view text) {
  const auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  if (!graph.ok()) return -1;
  double sum = 0;
  for (NodeId id : graph->order()) {
    Types inputs, outputs;
    for (ValueId v : graph->node(id).inputs) inputs.push_back(v == ValueId::none ? TensorType() : graph->type(v));
    for (ValueId v : graph->node(id).outputs) outputs.push_back(graph->type(v));
    sum += operation_count(graph->node(id).op, inputs, outputs);
  }
  return sum;
}

TEST(OperationCount, MatrixProducts) {
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "a" : f32[5,2,3]
    input %2 "b" : f32[3,4]
    %3 = MatMul(%1, %2)
    output %3 "y"
  })hone"),
            2 * 5 * 2 * 3 * 4);
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "a" : f32[3,2]
    input %2 "b" : f32[3,4]
    %3 = MatMul(%1, %2) {trans_a=true, trans_b=false}
    output %3 "y"
  })hone"),
            2 * 2 * 3 * 4);
}

TEST(OperationCount, ConvolutionsOfGroups) {
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "x" : f32[2,6,5,5]
    input %2 "w" : f32[4,3,3,3]
    %3 = Conv(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], groups=2}
    output %3 "y"
  })hone"),
            2 * (2 * 4 * 3 * 3) * (3 * 3 * 3));
}

TEST(OperationCount, AttentionOfPackedRows) {
  constexpr double kProducts = 2 * 2.0 * 2 * 3 * 7 * 7 * 4;  // two, of 2 x 3 heads
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "q" : f32[2,3,7,4]
    input %2 "k" : f32[2,3,7,4]
    input %3 "v" : f32[2,3,7,4]
    %4 = Attention(%1, %2, %3)
    output %4 "y"
  })hone"),
            kProducts);
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "qkv" : f32[2,7,3,3,4]
    %2 = Attention(%1, _, _) {layout="packed"}
    output %2 "y"
  })hone"),
            kProducts);
}

TEST(OperationCount, OtherOpsAndOpenDims) {
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "x" : f32[2,3]
    %2 = Pointwise(%1) {program="in0:f32; relu:f32(0)"}
    output %2 "y"
  })hone"),
            0);
  EXPECT_EQ(operations(R"hone(graph {
    input %1 "a" : f32[n,3]
    input %2 "b" : f32[3,4]
    %3 = MatMul(%1, %2)
    output %3 "y"
  })hone"),
            0);
}

}  // namespace
}  // namespace hone
