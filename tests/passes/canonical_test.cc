#include "expect_pass.h"

namespace hone {
namespace {

using testing::expect_no_pass;
using testing::expect_pass;

TEST(FoldConstants, ComputesConstantsAndKnownShapes) {
  expect_pass("fold_constants", R"hone(graph {
    input %1 "x" : f32[2,3]
    const %2 : f32[3] = [1, 2, 3]
    %3 = Pointwise(%2) {program="in0:f32; neg:f32(0)"}
    %4 = Pointwise(%1, %3) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %5 = Shape(%1)
    output %4 "y"
    output %5 "s"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,3]
    const %3 : f32[3] = [-1, -2, -3]
    %4 = Pointwise(%1, %3) {program="in0:f32; in1:f32; add:f32(0,1)"}
    const %5 : i64[2] = [2, 3]
    output %4 "y"
    output %5 "s"
  })hone");
  expect_no_pass("fold_constants", R"hone(graph {
    input %1 "x" : f32[N,3]
    %2 = Shape(%1)
    output %2 "s"
  })hone");
}

TEST(FoldConstants, SettlesTheTargetOfAReshape) {
  expect_pass("fold_constants", R"hone(graph {
    input %1 "x" : f32[2,3]
    input %2 "s" : i64[1]
    %3 : f32[6] = Reshape(%1, %2)
    output %3 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,3]
    input %2 "s" : i64[1]
    const %4 : i64[1] = [6]
    %3 = Reshape(%1, %4) {allow_zero=false}
    output %3 "y"
  })hone");
}

TEST(MergeDuplicates, EqualNodesAndConstants) {
  expect_pass("merge_duplicates", R"hone(graph {
    input %1 "x" : f32[2]
    const %2 : f32[2] = [1, 2]
    const %3 : f32[2] = [1, 2]
    %4 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %5 = Pointwise(%1, %3) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %6 = Pointwise(%4, %5) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    output %6 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[2]
    const %2 : f32[2] = [1, 2]
    %4 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %6 = Pointwise(%4, %4) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    output %6 "y"
  })hone");
  expect_no_pass("merge_duplicates", R"hone(graph {
    input %1 "x" : f32[2]
    const %2 : f32[2] = [1, 2]
    const %3 : f32[2] = [1, 3]
    %4 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %5 = Pointwise(%1, %3) {program="in0:f32; in1:f32; add:f32(0,1)"}
    %6 = Pointwise(%2, %1) {program="in0:f32; in1:f32; sub:f32(0,1)"}
    output %4 "a"
    output %5 "b"
    output %6 "c"
  })hone");
}

TEST(RemoveIdentities, MovementThatMovesNothing) {
  expect_pass("remove_identities", R"hone(graph {
    input %1 "x" : f32[2,3]
    const %2 : i64[2] = [2, 3]
    const %3 : i64[1] = [0]
    const %4 : i64[1] = [9]
    const %5 : i64[4] = [0, 0, 0, 0]
    const %6 : i64[2] = [1, 1]
    %10 = Transpose(%1) {perm=[0, 1]}
    %11 = Reshape(%10, %2)
    %12 = Slice(%11, %3, %4)
    %13 = Pad(%12, %5)
    %14 = Expand(%13, %6)
    %15 = Tile(%14, %6)
    %16 = Concat(%15) {axis=0}
    %17 = Pointwise(%16) {program="in0:f32"}
    output %17 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,3]
    output %1 "y"
  })hone");
}

TEST(RemoveIdentities, KeepsWhatChangesSomething) {
  expect_no_pass("remove_identities", R"hone(graph {
    input %1 "x" : f32[3,3]
    input %2 "n" : f32[?,?]
    const %3 : i64[2] = [-1, 3]
    const %4 : i64[1] = [9]
    const %5 : i64[1] = [-10]
    const %6 : i64[1] = [-1]
    const %7 : i64[1] = [0]
    const %8 : i64[2] = [3, 3]
    %10 = Transpose(%1) {perm=[1, 0]}
    %11 = Slice(%10, %4, %5, %7, %6)
    %12 = Reshape(%2, %3)
    %13 = Expand(%2, %8)
    output %11 "a"
    output %12 "b"
    output %13 "c"
  })hone");
}

TEST(MergeMovements, TransposesAndReshapes) {
  expect_pass("merge_movements", R"hone(graph {
    input %1 "x" : f32[2,3,4]
    const %2 : i64[2] = [6, -1]
    const %3 : i64[1] = [24]
    %4 = Transpose(%1) {perm=[2, 0, 1]}
    %5 = Transpose(%4) {perm=[2, 1, 0]}
    %6 = Reshape(%5, %2)
    %7 = Reshape(%6, %3)
    %8 = Transpose(%4) {perm=[1, 2, 0]}
    output %7 "y"
    output %8 "z"
  })hone", R"hone(graph {
    input %1 "x" : f32[2,3,4]
    const %3 : i64[1] = [24]
    %5 = Transpose(%1) {perm=[1, 0, 2]}
    %7 = Reshape(%5, %3)
    output %7 "y"
    output %1 "z"
  })hone");
  expect_pass("merge_movements", R"hone(graph {
    input %1 "x" : f32[N,1,4]
    const %2 : i64[2] = [0, -1]
    %3 : f32[N,4] = Squeeze(%1) {axes=[1]}
    %4 = Reshape(%3, %2)
    output %4 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[N,1,4]
    const %2 : i64[2] = [0, -1]
    %4 : f32[N,?] = Reshape(%1, %2)
    output %4 "y"
  })hone");
}

TEST(MergeMovements, MatMulReadsTransposedOperands) {
  expect_pass("merge_movements", R"hone(graph {
    input %1 "a" : f32[2,5,3]
    input %2 "b" : f32[2,4,5]
    %3 = Transpose(%1) {perm=[0, 2, 1]}
    %4 = Transpose(%2) {perm=[0, 2, 1]}
    %5 = MatMul(%3, %4) {trans_a=false, trans_b=false}
    output %5 "y"
  })hone", R"hone(graph {
    input %1 "a" : f32[2,5,3]
    input %2 "b" : f32[2,4,5]
    %5 = MatMul(%1, %2) {trans_a=true, trans_b=true}
    output %5 "y"
  })hone");
  expect_no_pass("merge_movements", R"hone(graph {
    input %1 "a" : f32[5,2,3]
    input %2 "b" : f32[2,4,5]
    %3 = Transpose(%1) {perm=[1, 0, 2]}
    %4 = MatMul(%3, %2) {trans_b=true, trans_a=true}
    output %4 "y"
  })hone");
}

TEST(FoldPads, IntoConvAndPool) {
  expect_pass("fold_pads", R"hone(graph {
    input %1 "x" : f32[1,1,4,4]
    const %2 : f32[1,1,3,3] = [1, 1, 1, 1, 1, 1, 1, 1, 1]
    const %3 : i64[8] = [0, 0, 1, 2, 0, 0, 3, 4]
    %4 = Pad(%1, %3)
    %5 = Conv(%4, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 1, 0, 1]}
    %6 = Pool(%4) {kind="average", kernel=[6, 6], strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    output %5 "y"
    output %6 "z"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[1,1,4,4]
    const %2 : f32[1,1,3,3] = [1, 1, 1, 1, 1, 1, 1, 1, 1]
    %5 = Conv(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[1, 3, 3, 5]}
    %6 = Pool(%1) {kind="average", kernel=[6, 6], strides=[1, 1], dilations=[1, 1], pads=[1, 2, 3, 4],
      count_include_pad=true}
    output %5 "y"
    output %6 "z"
  })hone");
  expect_no_pass("fold_pads", R"hone(graph {
    input %1 "x" : f32[1,1,4,4]
    const %2 : f32[1,1,3,3] = [1, 1, 1, 1, 1, 1, 1, 1, 1]
    const %3 : i64[8] = [0, 0, 1, 2, 0, 0, 3, 4]
    const %4 : f32[] = [1]
    const %5 : f32[1,2,3,3] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    const %6 : i64[8] = [0, 1, 0, 0, 0, 0, 0, 0]
    %10 = Pad(%1, %3, %4)
    %11 = Conv(%10, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 1, 0, 1]}
    %12 = Pad(%1, %6)
    %13 = Conv(%12, %5) {strides=[1, 1], dilations=[1, 1], pads=[0, 1, 0, 1]}
    %14 = Pad(%1, %3) {mode="edge"}
    %15 = Conv(%14, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 1, 0, 1]}
    %16 = Pad(%1, %3)
    %17 = Pool(%16) {kind="max", kernel=[6, 6], strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    output %11 "a"
    output %13 "b"
    output %15 "c"
    output %17 "d"
  })hone");
}

TEST(FoldAffine, BatchNormIntoConv) {
  expect_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f32[1,1,2,2]
    const %2 "w" : f32[2,1,1,1] = [1, 2]
    const %3 "b" : f32[2] = [10, 20]
    const %4 : f32[2,1,1] = [3, 4]
    const %5 : f32[1,2,1,1] = [0.5, 0.25]
    %6 = Conv(%1, %2, %3) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]} from "conv"
    %7 = Pointwise(%6, %4, %5) {program="in0:f32; in1:f32; sub:f32(0,1); in2:f32; mul:f32(2,3)"} from "bn"
    %8 = Pointwise(%7) {program="in0:f32; constant:f32(2); mul:f32(0,1)"}
    output %8 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[1,1,2,2]
    const %2 "w" : f32[2,1,1,1] = [1, 1]
    const %3 "b" : f32[2] = [7, 8]
    %6 = Conv(%1, %2, %3) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]} from "conv", "bn"
    output %6 "y"
  })hone");
}

TEST(FoldAffine, BiasAndScaleIntoMatMul) {
  expect_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f32[3,2]
    const %2 : f32[2,2] = [1, 2, 3, 4]
    const %3 : f32[2] = [1, 10]
    %4 = MatMul(%1, %2)
    %5 = Pointwise(%4, %3) {program="in0:f32; in1:f32; mul:f32(0,1); add:f32(2,1)"}
    output %5 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[3,2]
    const %2 : f32[2,2] = [1, 20, 3, 40]
    const %3 : f32[2] = [1, 10]
    %4 = MatMul(%1, %2, %3)
    output %4 "y"
  })hone");
  expect_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f32[3,2]
    input %2 "w" : f32[2,2]
    const %3 : f32[2] = [1, 10]
    %4 = MatMul(%1, %2)
    %5 = Pointwise(%4, %3) {program="in0:f32; in1:f32; add:f32(0,1)"}
    output %5 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[3,2]
    input %2 "w" : f32[2,2]
    const %3 : f32[2] = [1, 10]
    %4 = MatMul(%1, %2, %3)
    output %4 "y"
  })hone");
}

TEST(FoldAffine, ScaleOfGroupedTransposedConv) {
  expect_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f32[1,2,2,2]
    const %2 : f32[2,1,1,2] = [1, 2, 3, 4]
    const %3 : f32[2,1,1] = [10, 100]
    %4 = ConvTranspose(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], output_padding=[0, 0], groups=2}
    %5 = Pointwise(%4, %3) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    output %5 "y"
  })hone", R"hone(graph {
    input %1 "x" : f32[1,2,2,2]
    const %2 : f32[2,1,1,2] = [10, 20, 300, 400]
    %4 = ConvTranspose(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], output_padding=[0, 0], groups=2}
    output %4 "y"
  })hone");
}

TEST(FoldAffine, LeavesWhatIsNotPerChannel) {
  expect_no_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f32[1,1,2,2]
    const %2 : f32[2,1,1,1] = [1, 2]
    const %3 : f32[1,2] = [3, 4]
    %6 = Conv(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    %7 = Pointwise(%6, %3) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    %8 = Conv(%7, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], groups=2}
    %9 = Pointwise(%8) {program="in0:f32; relu:f32(0)"}
    %10 = Conv(%9, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], groups=2}
    %11 = Pointwise(%10) {program="in0:f32; constant:f32(2); mul:f32(0,1)"}
    output %10 "used twice"
    output %11 "y"
  })hone");
}

TEST(FoldAffine, RoundsNoWeightsOf8BitsAnew) {
  expect_no_pass("fold_affine_functions", R"hone(graph {
    input %1 "x" : f8e4m3fn[1,2]
    const %2 : f8e4m3fn[2,2] = [1, 2, 3, 4]
    const %3 : f32[2] = [0.1, 0.3]
    %4 = MatMul(%1, %2)
    %5 = Pointwise(%4, %3) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    output %5 "y"
  })hone");
}

}  // namespace
}  // namespace hone
