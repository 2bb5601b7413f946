#include "expect_pass.h"

namespace hone {
namespace {

using testing::expect_no_pass;
using testing::expect_pass;

TEST(MergePointwise, ChainsAndDiamonds) {
  expect_pass("merge_pointwise", R"hone(graph {
    input %1 "x" : f32[2,3]
    input %2 "b" : f32[3]
    %3 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1)"} from "add"
    %4 = Pointwise(%3) {program="in0:f32; sigmoid:f32(0)"} from "sigmoid"
    %5 = Pointwise(%2, %4) {program="in0:f32; in1:f32; mul:f32(0,1)"} from "mul"
    output %5 "y"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[2,3]
    input %2 "b" : f32[3]
    %5 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1); sigmoid:f32(2); mul:f32(1,3)"}
      from "add", "sigmoid", "mul"
    output %5 "y"
  })hone");
}

TEST(MergePointwise, KeepsSharedAndSmallerValues) {
  expect_no_pass("merge_pointwise", R"hone(graph {
    input %1 "x" : f32[2,3]
    input %2 "b" : f32[3]
    input %3 "u" : f32[*]
    %4 = Pointwise(%2) {program="in0:f32; exp:f32(0)"}
    %5 = Pointwise(%1, %4) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    %6 = Pointwise(%5) {program="in0:f32; neg:f32(0)"}
    %7 = Pointwise(%3) {program="in0:f32; exp:f32(0)"}
    %8 = Pointwise(%7) {program="in0:f32; neg:f32(0)"}
    output %5 "kept"
    output %6 "y"
    output %8 "z"
  })hone");
}

TEST(MergePointwise, LimitsTheProgram) {
  std::string text = "graph { input %1 \"x\" : f32[2,3] ";
  for (int i = 2; i < 202; ++i)
    text += fmt::format("%{} = Pointwise(%{}) {{program=\"in0:f32; {}:f32(0)\"}} ", i, i - 1, i % 2 ? "sin" : "cos");
  Graph graph = testing::parse(text + "output %201 \"y\" }");
  while (testing::run_pass("merge_pointwise", graph) > 0) {
  }
  EXPECT_GE(graph.node_count(), 4u);
  EXPECT_LE(graph.node_count(), 8u);
}

}  // namespace
}  // namespace hone
