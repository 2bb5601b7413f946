#include "expect_pass.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

using testing::expect_no_pass;
using testing::expect_pass;

constexpr const char* kConv = "{strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}";

int count(const Graph& graph, std::string_view op) {
  int n = 0;
  for (NodeId id : graph.order()) n += graph.node(id).op.name() == op;
  return n;
}

Graph laid_out(std::string_view text) {
  Graph graph = testing::parse(text);
  const Status status = assign_layout(graph, {.verify = true});
  EXPECT_TRUE(status.ok()) << status.message();
  return graph;
}

TEST(ChannelsLast, WrapsConvolutions) {
  expect_pass("channels_last", R"hone(graph {
    input %1 "x" : f32[1,2,4,5]
    const %2 : f32[1,2,1,1] = [1, 2]
    %3 = Conv(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    output %3 "y"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[1,2,4,5]
    const %2 : f32[1,2,1,1] = [1, 2]
    %3 = Transpose(%1) {perm=[0, 2, 3, 1]}
    %4 = Conv(%3, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], channels_last=true}
    %5 = Transpose(%4) {perm=[0, 3, 1, 2]}
    output %5 "y"
  })hone");
  expect_no_pass("channels_last", R"hone(graph {
    input %1 "x" : f64[1,1,4,5]
    input %2 "v" : f32[1,1,4,5]
    const %3 : f64[1,1,1,1] = [1]
    %4 = Conv(%1, %3) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    %5, %6 = Pool(%2) {kind="max", kernel=[2, 2], strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    output %4 "y"
    output %5 "z"
    output %6 "i"
  })hone");
}

TEST(SinkTransposes, ThroughPointwiseWithConstants) {
  expect_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[1,2,2,3]
    const %2 : f32[3,1,1] = [1, 2, 3]
    %3 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %4 = Pointwise(%3, %2) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    output %4 "y"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[1,2,2,3]
    const %2 : f32[3,1,1] = [1, 2, 3]
    const %5 : i64[4] = [1, 3, 1, 1]
    %6 = Reshape(%2, %5)
    %7 = Transpose(%6) {perm=[0, 2, 3, 1]}
    %3 = Pointwise(%1, %7) {program="in0:f32; in1:f32; mul:f32(0,1)"}
    %4 = Transpose(%3) {perm=[0, 3, 1, 2]}
    output %4 "y"
  })hone");
}

// Values are in the order of the input; their scale and zero point have none.
TEST(SinkTransposes, ThroughDynamicQuantisation) {
  expect_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[1,4,6,3]
    %2 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %3, %4, %5 = DynamicQuantize(%2)
    output %3 "v"
    output %4 "s"
    output %5 "z"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[1,4,6,3]
    %3, %4, %5 = DynamicQuantize(%1)
    %6 = Transpose(%3) {perm=[0, 3, 1, 2]}
    output %6 "v"
    output %4 "s"
    output %5 "z"
  })hone");
}

TEST(ChannelsLast, WrapsConvolutionsOfBytes) {
  const Graph graph = laid_out(R"hone(graph {
    input %1 "x" : u8[1,2,4,5]
    const %2 : i8[1,2,1,1] = [1, 2]
    %3 = Conv(%1, %2) {strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]}
    output %3 "y"
  })hone");
  EXPECT_NE(to_text(graph).find("channels_last=true"), std::string::npos) << to_text(graph);
}

TEST(SinkTransposes, RemapsAxes) {
  expect_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[1,4,6,3]
    const %2 : i64[2] = [2, 3]
    const %3 : i64[8] = [0, 0, 1, 2, 0, 0, 3, 4]
    const %4 : f32[4] = [1, 1, 2, 2]
    %5 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %6 = Softmax(%5) {axis=1}
    %7 = Concat(%5, %6) {axis=-3}
    %8 = Reduce(%5, %2) {kind="mean", keep_dims=false}
    %9 = Pad(%5, %3)
    %10 = Resize(%5, _, %4)
    output %7 "a"
    output %8 "b"
    output %9 "c"
    output %10 "d"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[1,4,6,3]
    const %2 : i64[2] = [1, 2]
    const %3 : i64[8] = [0, 1, 2, 0, 0, 3, 4, 0]
    const %4 : f32[4] = [1, 1, 2, 2]
    %6 = Softmax(%1) {axis=3}
    %7 = Concat(%1, %6) {axis=3}
    %17 = Transpose(%7) {perm=[0, 3, 1, 2]}
    %8 = Reduce(%1, %2) {kind="mean", keep_dims=false}
    %9 = Pad(%1, %3)
    %19 = Transpose(%9) {perm=[0, 3, 1, 2]}
    %10 = Resize(%1, _, %4) {axes=[0, 3, 1, 2]}
    %20 = Transpose(%10) {perm=[0, 3, 1, 2]}
    output %17 "a"
    output %8 "b"
    output %19 "c"
    output %20 "d"
  })hone");
}

TEST(SinkTransposes, ThroughReshapesOfSpatialDims) {
  expect_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[N,4,6,3]
    const %2 : i64[3] = [0, 3, 24]
    const %3 : i64[6] = [0, 3, 2, 2, 3, 2]
    %4 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %5 = Reshape(%4, %2)
    %6 = Reshape(%4, %3)
    output %5 "y"
    output %6 "z"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[N,4,6,3]
    const %2 : i64[3] = [0, 24, 3]
    const %3 : i64[6] = [0, 2, 2, 3, 2, 3]
    %5 = Reshape(%1, %2)
    %7 = Transpose(%5) {perm=[0, 2, 1]}
    %6 = Reshape(%1, %3)
    %8 = Transpose(%6) {perm=[0, 5, 1, 2, 3, 4]}
    output %7 "y"
    output %8 "z"
  })hone");
  // Batch or channels change, or the spatial dims go.
  expect_no_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[2,4,6,3]
    input %2 "w" : f32[M,1,6,M]
    const %3 : i64[3] = [1, 6, 24]
    const %4 : i64[4] = [2, 1, 3, 24]
    const %5 : i64[2] = [2, 72]
    const %6 : i64[3] = [-1, 3, 2]
    %7 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %8 = Transpose(%2) {perm=[0, 3, 1, 2]}
    %9 = Reshape(%7, %3)
    %10 = Reshape(%7, %4)
    %11 = Reshape(%7, %5)
    %12 = Reshape(%8, %6)
    output %9 "a"
    output %10 "b"
    output %11 "c"
    output %12 "d"
  })hone");
}

// What follows two Transposes in a row waits until they are one.
TEST(SinkTransposes, NotOfTwoInARow) {
  expect_no_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[2,4,3]
    %2 = Transpose(%1) {perm=[0, 2, 1]}
    %3 = Transpose(%2) {perm=[0, 2, 1]}
    %4 = Pointwise(%3) {program="in0:f32; relu:f32(0)"}
    output %4 "y"
  })hone");
}

TEST(SinkTransposes, StopsWhereOrderMatters) {
  expect_no_pass("sink_transposes", R"hone(graph {
    input %1 "x" : f32[1,4,6,3]
    input %2 "u" : f32[3,4,6]
    input %3 "t" : f32[2,3,4]
    input %4 "o" : f32[2,4,3]
    const %5 : i64[2] = [1, 72]
    %6 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %7 = Reshape(%6, %5)
    %8 = Transpose(%1) {perm=[0, 2, 1, 3]}
    %9 = Pointwise(%8) {program="in0:f32; relu:f32(0)"}
    %10 = Transpose(%3) {perm=[0, 2, 1]}
    %11 = Pointwise(%10, %4) {program="in0:f32; in1:f32; add:f32(0,1)"}
    output %7 "a"
    output %9 "b"
    output %11 "c"
    output %2 "d"
  })hone");
}

TEST(TransposesToReshapes, OnlyDimsOfOneMove) {
  expect_pass("transposes_to_reshapes", R"hone(graph {
    input %1 "x" : f32[N,1,1,3]
    input %2 "z" : f32[N,1,2,3]
    %3 = Transpose(%1) {perm=[0, 3, 1, 2]}
    %4 = Transpose(%2) {perm=[0, 3, 1, 2]}
    output %3 "y"
    output %4 "w"
  })hone",
              R"hone(graph {
    input %1 "x" : f32[N,1,1,3]
    input %2 "z" : f32[N,1,2,3]
    const %5 : i64[4] = [0, 3, 1, 1]
    %3 = Reshape(%1, %5)
    %4 = Transpose(%2) {perm=[0, 3, 1, 2]}
    output %3 "y"
    output %4 "w"
  })hone");
}

// Convolution, squeeze and excite, residual, concat, upsampling: one conversion at each edge.
TEST(AssignLayout, ConvertsANetworkOnceAtItsEdges) {
  const Graph graph = laid_out(fmt::format(R"hone(graph {{
    input %1 "x" : f32[1,2,4,5]
    const %2 : f32[2,2,1,1] = [1, 2, 3, 4]
    const %3 : i64[2] = [2, 3]
    const %4 : f32[4] = [1, 1, 2, 2]
    %10 = Conv(%1, %2) {0}
    %11 = Pointwise(%10) {{program="in0:f32; relu:f32(0)"}}
    %12 = Reduce(%11, %3) {{kind="mean"}}
    %13 = Conv(%12, %2) {0}
    %14 = Pointwise(%13) {{program="in0:f32; sigmoid:f32(0)"}}
    %15 = Pointwise(%11, %14) {{program="in0:f32; in1:f32; mul:f32(0,1)"}}
    %16 = Conv(%15, %2) {0}
    %17 = Pointwise(%16, %11) {{program="in0:f32; in1:f32; add:f32(0,1)"}}
    %18 = Concat(%17, %11) {{axis=1}}
    %19 = Resize(%18, _, %4)
    output %19 "y"
  }})hone",
                                           kConv));
  EXPECT_EQ(count(graph, "Transpose"), 2) << to_text(graph);
  EXPECT_EQ(count(graph, "Reshape"), 0) << to_text(graph);
}

// What is computed in another order than the framework's says so in its name.
TEST(AssignLayout, KeepsTheNamesOfValues) {
  const Graph graph = laid_out(fmt::format(R"hone(graph {{
    input %1 "x" : f32[1,2,4,5]
    const %2 : f32[2,2,1,1] = [1, 2, 3, 4]
    %3 "conv" = Conv(%1, %2) {0}
    %4 "relu" = Pointwise(%3) {{program="in0:f32; relu:f32(0)"}}
    output %4 "y"
  }})hone",
                                           kConv));
  std::vector<std::string> names;
  for (NodeId id : graph.order()) names.push_back(graph.value(graph.node(id).outputs[0]).name);
  EXPECT_EQ(names, (std::vector<std::string>{"", "conv (channels last)", "relu (channels last)", "relu"}));
}

TEST(AssignLayout, ClassifierEndsWithoutATranspose) {
  const Graph graph = laid_out(fmt::format(R"hone(graph {{
    input %1 "x" : f32[1,2,4,5]
    const %2 : f32[2,2,1,1] = [1, 2, 3, 4]
    const %3 : i64[2] = [2, 3]
    const %4 : i64[2] = [0, -1]
    %10 = Conv(%1, %2) {}
    %11 = Reduce(%10, %3) {{kind="mean"}}
    %12 = Reshape(%11, %4)
    output %12 "y"
  }})hone",
                                           kConv));
  EXPECT_EQ(count(graph, "Transpose"), 1) << to_text(graph);
}

// The patches of a vision transformer: behind the convolution they lie as the rest of the network reads them.
TEST(AssignLayout, PatchesNeedNoTranspose) {
  const Graph graph = laid_out(R"hone(graph {
    input %1 "x" : f32[2,2,4,6]
    input %2 "class" : f32[2,1,3]
    const %3 : f32[3,2,2,2] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]
    const %4 : i64[3] = [0, 3, -1]
    const %5 : f32[1,7,3] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]
    %10 = Conv(%1, %3) {strides=[2, 2], dilations=[1, 1], pads=[0, 0, 0, 0]}
    %11 = Reshape(%10, %4)
    %12 = Transpose(%11) {perm=[0, 2, 1]}
    %13 = Concat(%2, %12) {axis=1}
    %14 = Pointwise(%13, %5) {program="in0:f32; in1:f32; add:f32(0,1)"}
    output %14 "y"
  })hone");
  EXPECT_EQ(count(graph, "Transpose"), 1) << to_text(graph);  // of the image
  EXPECT_EQ(count(graph, "Reshape"), 1) << to_text(graph);
}

TEST(AssignLayout, LeavesNetworksWithoutConvolutionsAlone) {
  const char* text = R"hone(graph {
    input %1 "x" : f32[2,3,4,5]
    %2 = Transpose(%1) {perm=[0, 2, 1, 3]}
    %3 = Softmax(%2) {axis=-1, log=false}
    output %3 "y"
  })hone";
  EXPECT_TRUE(equal(laid_out(text), testing::parse(text)));
}

}  // namespace
}  // namespace hone
