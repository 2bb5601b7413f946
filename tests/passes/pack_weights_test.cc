#include "expect_pass.h"

#include <cmath>

#include "ops/matmul_nbits.h"

namespace hone {
namespace {

using testing::expect_no_pass;
using testing::expect_pass;
using testing::parse;
using testing::run_pass;

// The graph computes the same before and after the pass, which makes a MatMulNBits.
void expect_same(const std::string& text, const Dims& dims) {
  Graph graph = parse(text);
  const Graph before = graph;
  EXPECT_GT(run_pass("pack_weights", graph), 0) << text;
  size_t packed = 0;
  for (NodeId id : graph.order()) packed += graph.node(id).op.as<MatMulNBits>() != nullptr;
  EXPECT_EQ(packed, 1u) << to_text(graph);
  Tensor x(DType::f32, dims);
  for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::sin(1.3 * static_cast<double>(i)));
  const auto want = interpret(before, Tensors{x}), got = interpret(graph, Tensors{x});
  ASSERT_TRUE(want.ok() && got.ok()) << got.status().message();
  ASSERT_EQ((*got)[0].dims(), (*want)[0].dims());
  // Both sum in doubles; each rounds its weights and its results to f32.
  for (int64_t i = 0; i < (*want)[0].count(); ++i) EXPECT_NEAR((*got)[0].at(i), (*want)[0].at(i), 1e-5) << i;
}

TEST(PackWeights, BlocksOfFourBits) {
  expect_pass("pack_weights", R"hone(graph {
    input %1 "x" : f32[5,4]
    const %2 "w" : i4[4,2] = [-8, 1, 2, 3, -4, 5, 6, 7]
    const %3 : f32[2,2] = [0.5, 1, 2, 4]
    %4 = Dequantize(%2, %3) {axis=0, block=2}
    %5 = MatMul(%1, %4)
    output %5 "y"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[5,4]
    const %2 "w" : u8[2,2,1] = [160, 228, 185, 253]
    const %3 : f32[2,2] = [0.5, 2, 1, 4]
    const %4 : u8[2,2] = [8, 8, 8, 8]
    %5 = MatMulNBits(%1, %2, %3, %4) {bits=4, block=2}
    output %5 "y"
  })hone");
}

TEST(PackWeights, OfEveryKindComputeTheSame) {
  // Transposed, with zero points and a bias; K is no multiple of the block.
  expect_same(R"hone(graph {
    input %1 "x" : f32[2,3,5]
    const %2 : u4[2,5] = [0, 15, 7, 3, 9, 1, 2, 3, 4, 5]
    const %3 : f32[2,3] = [0.5, 1, 2, 4, 0.25, 1]
    const %4 : u4[2,3] = [0, 7, 15, 3, 8, 1]
    const %5 : f32[2] = [10, -20]
    %6 = Dequantize(%2, %3, %4) {axis=1, block=2}
    %7 = MatMul(%1, %6, %5) {trans_b=true}
    output %7 "y"
  })hone",
              {2, 3, 5});
  // A scale for each output channel, and one for all.
  expect_same(R"hone(graph {
    input %1 "x" : f32[3]
    const %2 : i4[3,2] = [-8, 7, 6, -5, 0, 1]
    const %3 : f32[2] = [0.5, 3]
    %4 = Dequantize(%2, %3) {axis=-1}
    %5 = MatMul(%1, %4)
    output %5 "y"
  })hone",
              {3});
  expect_same(R"hone(graph {
    input %1 "x" : f32[2,3]
    const %2 : i4[3,2] = [-8, 7, 6, -5, 0, 1]
    const %3 : f32[] = [0.5]
    const %4 : i4[] = [-2]
    %5 = Dequantize(%2, %3, %4)
    %6 = MatMul(%1, %5)
    output %6 "y"
  })hone",
              {2, 3});
  // On the left, as it is and transposed.
  for (const char* form : {"i8[2,4] = [1, -128, 127, 3, 5, 6, 7, 8] const %3 : f32[2,2] = [1, 2, 3, 4] "
                           "%4 = Dequantize(%2, %3) {axis=1, block=2} %5 = MatMul(%4, %1)",
                           "i8[4,2] = [1, -128, 127, 3, 5, 6, 7, 8] const %3 : f32[2,2] = [1, 2, 3, 4] "
                           "%4 = Dequantize(%2, %3) {axis=0, block=2} %5 = MatMul(%4, %1) {trans_a=true}"})
    expect_same(fmt::format("graph {{ input %1 \"x\" : f32[3,4,5] const %2 : {} output %5 \"y\" }}", form), {3, 4, 5});
  expect_same(R"hone(graph {
    input %1 "x" : f32[3,4]
    const %2 : i8[2,4] = [1, -128, 127, 3, 5, 6, 7, 8]
    const %3 : f32[2,1] = [1, 2]
    %4 = Dequantize(%2, %3) {axis=1, block=4}
    %5 = MatMul(%4, %1) {trans_b=true}
    output %5 "y"
  })hone",
              {3, 4});
}

TEST(PackWeights, OtherFormsAreLeftAlone) {
  const auto text = [](const char* weights) {
    return fmt::format("graph {{ input %1 \"x\" : f32[2,4] {} %5 = MatMul(%1, %4) output %5 \"y\" }}", weights);
  };
  // Products of 8 bits may become products of integers.
  expect_no_pass("pack_weights", text("const %2 : i8[4,2] = [1, 2, 3, 4, 5, 6, 7, 8] const %3 : f32[2] = [1, 2] "
                                      "%4 = Dequantize(%2, %3) {axis=1}"));
  // Blocks and scales across the sum, weights that are not constant, batches.
  expect_no_pass("pack_weights",
                 text("const %2 : i4[4,2] = [1, 2, 3, 4, 5, 6, 7, 7] const %3 : f32[4,1] = [1, 2, 3, 4] "
                      "%4 = Dequantize(%2, %3) {axis=1, block=2}"));
  expect_no_pass("pack_weights", text("const %2 : i4[4,2] = [1, 2, 3, 4, 5, 6, 7, 7] const %3 : f32[4] = [1, 2, 3, 4] "
                                      "%4 = Dequantize(%2, %3) {axis=0}"));
  expect_no_pass("pack_weights", text("input %2 \"w\" : i4[4,2] const %3 : f32[] = [1] %4 = Dequantize(%2, %3)"));
  expect_no_pass("pack_weights", text("const %2 : i4[1,4,2] = [1, 2, 3, 4, 5, 6, 7, 7] const %3 : f32[] = [1] "
                                      "%4 = Dequantize(%2, %3)"));
}

// A bias or a factor of each channel that follows goes into the product.
TEST(PackWeights, FactorsGoIntoScales) {
  expect_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f32[5,4]
    const %2 : u8[2,2,1] = [1, 2, 3, 4]
    const %3 : f32[2,2] = [1, 2, 3, 4]
    const %4 : u8[2,2] = [8, 8, 8, 8]
    const %5 : f32[2] = [10, 100]
    const %6 : f32[2] = [-1, 1]
    %7 = MatMulNBits(%1, %2, %3, %4) {block=2}
    %8 = Pointwise(%7, %5, %6) {program="in0:f32; in1:f32; mul:f32(0,1); in2:f32; add:f32(2,3)"}
    output %8 "y"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[5,4]
    const %2 : u8[2,2,1] = [1, 2, 3, 4]
    const %3 : f32[2,2] = [10, 20, 300, 400]
    const %4 : u8[2,2] = [8, 8, 8, 8]
    const %5 : f32[2] = [-1, 1]
    %6 = MatMulNBits(%1, %2, %3, %4, %5) {block=2}
    output %6 "y"
  })hone");
}

}  // namespace
}  // namespace hone
