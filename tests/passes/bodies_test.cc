#include "expect_pass.h"
#include "passes/pipeline.h"

namespace hone::testing {
namespace {

TEST(SpecialiseBodies, AConstantConditionLeavesItsBranch) {
  expect_pass("specialise_bodies", R"g(graph "g" {
  input %1 "x" : f32[2]
  const %2 : bool[] = [0]
  %3 : f32[2] = If(%2, %1, %1) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      %2 : f32[2] = Pointwise(%1) {program="in0:f32; relu:f32(0)"}
      output %2 "y"
    }, then_branch=graph "t" {
      input %1 "x" : f32[2]
      %2 : f32[2] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
      output %2 "y"
    }}
  output %3 "y"
}
)g",
              R"g(graph "g" {
  input %1 "x" : f32[2]
  %3 : f32[2] = Pointwise(%1) {program="in0:f32; relu:f32(0)"}
  output %3 "y"
}
)g");
}

TEST(SpecialiseBodies, TypesAfterAnInlinedBranchBecomeKnown) {
  Graph graph = parse(R"g(graph "g" {
  input %1 "x" : f32[2]
  const %2 : bool[] = [1]
  %3 : f32[?] = If(%2, %1) {else_branch=graph "e" {
      const %1 : f32[3] = [1, 2, 3]
      output %1 "y"
    }, then_branch=graph "t" {
      input %1 "x" : f32[2]
      output %1 "y"
    }}
  %4 : f32[?] = Pointwise(%3) {program="in0:f32; relu:f32(0)"}
  output %4 "y"
}
)g");
  EXPECT_GT(run_pass("specialise_bodies", graph), 0);
  EXPECT_EQ(to_text(graph.type(graph.outputs()[0])), "f32[2]");
}

TEST(SpecialiseBodies, ConstantsMoveInAndUnusedCapturesGo) {
  expect_pass("specialise_bodies", R"g(graph "g" {
  input %1 "x" : f32[2]
  input %2 "c" : bool[]
  const %3 : f32[2] = [1, 2]
  %4 : f32[2] = If(%2, %3, %1, %1) {else_branch=graph "e" {
      input %1 "x" : f32[?]
      output %1 "y"
    }, then_branch=graph "t" {
      input %1 "w" : f32[2]
      input %2 "unused" : f32[2]
      %3 : f32[2] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
      output %3 "y"
    }}
  output %4 "y"
}
)g",
              R"g(graph "g" {
  input %1 "x" : f32[2]
  input %2 "c" : bool[]
  %4 : f32[2] = If(%2, %1) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      output %1 "y"
    }, then_branch=graph "t" {
      const %1 "w" : f32[2] = [1, 2]
      %3 : f32[2] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
      output %3 "y"
    }}
  output %4 "y"
}
)g");
}

TEST(SpecialiseBodies, AStateThatKeepsItsTypeGetsIt) {
  expect_pass("specialise_bodies", R"g(graph "g" {
  input %1 "n" : i64[]
  input %2 "x" : f32[2]
  %3 : f32[?] = Loop(%1, _, %2) {body=graph "b" {
      input %1 "i" : i64[]
      input %2 "c" : bool[]
      input %3 "s" : f32[*]
      %4 : f32[*] = Pointwise(%3) {program="in0:f32; tanh:f32(0)"}
      output %2 "c"
      output %4 "s"
    }, states=1}
  output %3 "y"
}
)g",
              R"g(graph "g" {
  input %1 "n" : i64[]
  input %2 "x" : f32[2]
  %3 : f32[2] = Loop(%1, _, %2) {body=graph "b" {
      input %1 "i" : i64[]
      input %2 "c" : bool[]
      input %3 "s" : f32[2]
      %4 : f32[2] = Pointwise(%3) {program="in0:f32; tanh:f32(0)"}
      output %2 "c"
      output %4 "s"
    }, states=1}
  output %3 "y"
}
)g");
}

TEST(SpecialiseBodies, AStateThatGrowsStaysOpen) {
  expect_no_pass("specialise_bodies", R"g(graph "g" {
  input %1 "n" : i64[]
  input %2 "x" : f32[2]
  %3 : f32[*] = Loop(%1, _, %2) {body=graph "b" {
      input %1 "i" : i64[]
      input %2 "c" : bool[]
      input %3 "s" : f32[*]
      %4 : f32[*] = Concat(%3, %3) {axis=0}
      output %2 "c"
      output %4 "s"
    }, states=1}
  output %3 "y"
}
)g");
}

TEST(SpecialiseBodies, ABranchChosenAtRunTimeStays) {
  expect_no_pass("specialise_bodies", R"g(graph "g" {
  input %1 "x" : f32[2]
  input %2 "c" : bool[]
  %4 : f32[2] = If(%2, %1, %1) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      output %1 "y"
    }, then_branch=graph "t" {
      input %1 "x" : f32[2]
      %3 : f32[2] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
      output %3 "y"
    }}
  output %4 "y"
}
)g");
}

TEST(Pipeline, BodiesAreOptimisedToo) {
  Graph graph = parse(R"g(graph "g" {
  input %1 "x" : f32[2]
  input %2 "c" : bool[]
  const %3 : f32[] = [1]
  %4 : f32[2] = If(%2, %3, %1, %1) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      output %1 "y"
    }, then_branch=graph "t" {
      input %1 "w" : f32[]
      input %2 "x" : f32[2]
      %3 : f32[2] = Pointwise(%2, %1) {program="in0:f32; in1:f32; mul:f32(0,1)"}
      %4 : f32[2] = Pointwise(%3) {program="in0:f32; tanh:f32(0)"}
      output %4 "y"
    }}
  output %4 "y"
}
)g");
  const Graph expected = parse(R"g(graph "g" {
  input %1 "x" : f32[2]
  input %2 "c" : bool[]
  %4 : f32[2] = If(%2, %1, %1) {else_branch=graph "e" {
      input %1 "x" : f32[2]
      output %1 "y"
    }, then_branch=graph "t" {
      input %2 "x" : f32[2]
      %4 : f32[2] = Pointwise(%2) {program="in0:f32; tanh:f32(0)"}
      output %4 "y"
    }}
  output %4 "y"
}
)g");
  ASSERT_TRUE(canonicalize(graph, {.verify = true}).ok());
  ASSERT_TRUE(fuse(graph, {.verify = true}).ok());
  EXPECT_TRUE(equal(graph, expected)) << to_text(graph);
}

}  // namespace
}  // namespace hone::testing
