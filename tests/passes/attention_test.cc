#include "expect_pass.h"

namespace hone {
namespace {

using testing::expect_no_pass;
using testing::expect_pass;

constexpr std::string_view kProduct = R"hone(graph {{
  input %1 "q" : f32[2,3,4,8]
  input %2 "k" : f32[2,3,5,8]
  input %3 "v" : f32[2,3,5,6]
  input %4 "mask" : {}
  %5 = MatMul(%1, %2) {{trans_b=true}}
  {}
  output %8 "y"
}})hone";

std::string product(std::string_view mask, std::string_view rest) { return fmt::format(kProduct, mask, rest); }

TEST(RecogniseAttention, ScaleAndMask) {
  expect_pass("recognise_attention", product("f32[2,1,1,5]", R"hone(
    %6 = Pointwise(%5) {program="in0:f32; constant:f32(4); div:f32(0,1)"}
    %9 = Pointwise(%6, %4) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %7 = Softmax(%9) {axis=-1}
    %8 = MatMul(%7, %3))hone"), R"hone(graph {
    input %1 "q" : f32[2,3,4,8]
    input %2 "k" : f32[2,3,5,8]
    input %3 "v" : f32[2,3,5,6]
    input %4 "mask" : f32[2,1,1,5]
    %8 = Attention(%1, %2, %3, %4) {scale=0.25}
    output %8 "y"
  })hone");
}

TEST(RecogniseAttention, ScaledQueriesAndTransposedKeys) {
  expect_pass("recognise_attention", R"hone(graph {
    input %1 "q" : f32[2,3,4,8]
    input %2 "k" : f32[2,3,8,5]
    input %3 "v" : f32[2,3,5,6]
    %4 = Pointwise(%1) {program="in0:f32; constant:f32(0.5); mul:f32(0,1)"}
    %5 = MatMul(%4, %2)
    %6 = Softmax(%5) {axis=3}
    %7 = MatMul(%6, %3)
    output %7 "y"
  })hone", R"hone(graph {
    input %1 "q" : f32[2,3,4,8]
    input %2 "k" : f32[2,3,8,5]
    input %3 "v" : f32[2,3,5,6]
    %4 = Transpose(%2) {perm=[0, 1, 3, 2]}
    %7 = Attention(%1, %4, %3) {scale=0.5}
    output %7 "y"
  })hone");
}

TEST(RecogniseAttention, LeavesLookalikes) {
  // Another axis; logarithms; a mask that says nothing of most keys, or makes the scores larger; weights that others
  // read.
  expect_no_pass("recognise_attention", product("f32[1]", "%7 = Softmax(%5) {axis=2}  %8 = MatMul(%7, %3)"));
  expect_no_pass("recognise_attention", product("f32[1]", "%7 = Softmax(%5) {axis=-1, log=true}  %8 = MatMul(%7, %3)"));
  for (const char* mask : {"f32[2,3,4,1]", "f32[1]"})
    expect_no_pass("recognise_attention", product(mask, R"hone(
      %6 = Pointwise(%5, %4) {program="in0:f32; in1:f32; add:f32(0,1)"}
      %7 = Softmax(%6) {axis=-1}
      %8 = MatMul(%7, %3))hone"));
  expect_no_pass("recognise_attention", product("f32[1]", R"hone(
    %7 = Softmax(%5) {axis=-1}
    %8 = MatMul(%7, %3)
    output %7 "weights")hone"));
  expect_no_pass("recognise_attention", product("f32[1]", R"hone(
    %7 = Softmax(%5) {axis=-1}
    %8 = MatMul(%7, %3)
    output %5 "scores")hone"));
  // Keys that are shared by all heads broadcast.
  expect_no_pass("recognise_attention", R"hone(graph {
    input %1 "q" : f32[2,3,4,8]
    input %2 "k" : f32[2,1,5,8]
    input %3 "v" : f32[2,1,5,6]
    %5 = MatMul(%1, %2) {trans_b=true}
    %6 = Softmax(%5) {axis=-1}
    %7 = MatMul(%6, %3)
    output %7 "y"
  })hone");
}

TEST(RecogniseAttention, DropsTheExpansionOfAMask) {
  expect_pass("recognise_attention", R"hone(graph {
    input %1 "q" : f32[2,3,4,8]
    input %4 "mask" : f32[2,1,1,4]
    const %5 : i64[4] = [2, 1, 4, 4]
    %6 = Expand(%4, %5)
    %7 = Attention(%1, %1, %1, %6)
    output %7 "y"
  })hone", R"hone(graph {
    input %1 "q" : f32[2,3,4,8]
    input %4 "mask" : f32[2,1,1,4]
    %7 = Attention(%1, %1, %1, %4)
    output %7 "y"
  })hone");
}

TEST(RecogniseAttention, ReadsRows) {
  expect_pass("recognise_attention", R"hone(graph {
    input %1 "q" : f32[2,4,3,8]
    input %2 "kv" : f32[2,5,3,8]
    %3 = Transpose(%1) {perm=[0, 2, 1, 3]}
    %4 = Transpose(%2) {perm=[0, 2, 1, 3]}
    %5 = Attention(%3, %4, %4)
    output %5 "y"
  })hone", R"hone(graph {
    input %1 "q" : f32[2,4,3,8]
    input %2 "kv" : f32[2,5,3,8]
    %3 = Attention(%1, %2, %2) {layout="rows"}
    %5 = Transpose(%3) {perm=[0, 2, 1, 3]}
    output %5 "y"
  })hone");
  expect_no_pass("recognise_attention", R"hone(graph {
    input %1 "q" : f32[2,4,3,8]
    input %2 "kv" : f32[2,3,5,8]
    %3 = Transpose(%1) {perm=[0, 2, 1, 3]}
    %5 = Attention(%3, %2, %2)
    output %5 "y"
  })hone");
}

// Attention on the parts [first, 1, 2] of one transposed value.
std::string parts(int first) {
  return fmt::format(R"hone(graph {{
    input %1 "qkv" : f32[2,4,3,6,8]
    const %2 : i64[] = [{}]
    const %3 : i64[1] = [1]
    const %4 : i64[1] = [2]
    const %5 : i64[1] = [0]
    const %6 : i64[] = [2]
    const %7 : i64[4] = [2, 6, 4, 8]
    %8 = Transpose(%1) {{perm=[2, 0, 3, 1, 4]}}
    %9 = Gather(%8, %2) {{axis=0}}
    %10 = Slice(%8, %3, %4, %5)
    %11 = Reshape(%10, %7)
    %12 = Gather(%8, %6) {{axis=0}}
    %13 = Attention(%9, %11, %12)
    output %13 "y"
  }})hone", first);
}

TEST(RecogniseAttention, ReadsPacked) {
  expect_pass("recognise_attention", parts(0), R"hone(graph {
    input %1 "qkv" : f32[2,4,3,6,8]
    %2 = Attention(%1, _, _) {layout="packed"}
    %3 = Transpose(%2) {perm=[0, 2, 1, 3]}
    output %3 "y"
  })hone");
  expect_no_pass("recognise_attention", parts(1));
}

std::string projections(std::string_view second_weights, std::string_view more = "") {
  return fmt::format(R"hone(graph {{
    input %1 "x" : f32[2,3,2]
    const %2 : f32[2,2] = [1, 2, 3, 4]
    {}
    const %4 : f32[2,2] = [9, 10, 11, 12]
    const %5 : i64[4] = [2, 3, 2, 1]
    %6 "q" = MatMul(%1, %2)
    %7 "k" = MatMul(%1, %3)
    %8 "v" = MatMul(%1, %4)
    %9 = Reshape(%6, %5)
    %10 = Reshape(%7, %5)
    %11 = Reshape(%8, %5)
    %12 = Attention(%9, %10, %11) {{layout="rows"}}
    output %12 "y"
    {}
  }})hone", second_weights, more);
}

TEST(MergeProjections, SideBySide) {
  expect_pass("merge_projections", projections("const %3 : f32[2,2] = [5, 6, 7, 8]"), R"hone(graph {
    input %1 "x" : f32[2,3,2]
    const %2 : f32[2,6] = [1, 2, 5, 6, 9, 10, 3, 4, 7, 8, 11, 12]
    const %3 : i64[5] = [2, 3, 3, 2, 1]
    %4 "q | k | v" = MatMul(%1, %2)
    %5 = Reshape(%4, %3)
    %6 = Attention(%5, _, _) {layout="packed"}
    output %6 "y"
  })hone");
}

TEST(MergeProjections, NeedsConstantWeightsOfNoOtherUse) {
  expect_no_pass("merge_projections", projections("input %3 \"w\" : f32[2,2]"));
  expect_no_pass("merge_projections", projections("const %3 : f32[2,2] = [5, 6, 7, 8]", "output %7 \"k\""));
}

// The other layouts compute what "heads" does.
TEST(Attention, LayoutsAgree) {
  Tensor packed(DType::f32, {2, 4, 3, 6, 8});
  for (int64_t i = 0; i < packed.count(); ++i) packed.set(i, static_cast<double>(i * 37 % 101) / 50 - 1);
  const auto run = [&](std::string_view nodes) {
    const Graph graph = testing::parse(fmt::format(R"hone(graph {{
      input %1 "qkv" : f32[2,4,3,6,8]
      const %2 : i64[4] = [2, 4, 6, 8]
      {}
    }})hone", nodes));
    const auto y = interpret(graph, std::span(&packed, 1));
    EXPECT_TRUE(y.ok()) << y.status().message();
    return y.ok() ? (*y)[0].to_doubles() : std::vector<double>{};
  };
  const std::string split = R"hone(
    %3, %4, %5 = Split(%1) {axis=2}
    %6 = Reshape(%3, %2)
    %7 = Reshape(%4, %2)
    %8 = Reshape(%5, %2))hone";
  const auto expected = run(split + R"hone(
    %9 = Transpose(%6) {perm=[0, 2, 1, 3]}
    %10 = Transpose(%7) {perm=[0, 2, 1, 3]}
    %11 = Transpose(%8) {perm=[0, 2, 1, 3]}
    %12 = Attention(%9, %10, %11)
    %13 = Transpose(%12) {perm=[0, 2, 1, 3]}
    output %13 "y")hone");
  EXPECT_EQ(run(split + "%9 = Attention(%6, %7, %8) {layout=\"rows\"}  output %9 \"y\""), expected);
  EXPECT_EQ(run("%9 = Attention(%1, _, _) {layout=\"packed\"}  output %9 \"y\""), expected);
}

}  // namespace
}  // namespace hone
