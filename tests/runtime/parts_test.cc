#include "backends/parts.h"

#include <gtest/gtest.h>

#include "compile/compile.h"
#include "runtime/context.h"

namespace hone {
namespace {

Graph parse(const std::string& text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message() << "\n" << text;
  return graph.ok() ? std::move(*graph) : Graph();
}

Tensor numbers(const TensorType& type, int seed) {
  Tensor t(type.dtype, *type.shape.concrete());
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>((i * 7 + seed) % 11) - 5);
  return t;
}

// The steps of op `name` in the engine of a graph, which computes what the interpreter does.
int steps_of(const std::string& name, const std::string& text) {
  const Graph graph = parse(text);
  const auto data = compile_graph(graph, {.threads = 1, .tune = false});
  EXPECT_TRUE(data.ok()) << data.status().message();
  if (!data.ok()) return -1;
  const auto engine = LoadedEngine::make(EngineData(*data));
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  for (int seed : {1, 5}) {
    Tensors inputs;
    for (ValueId v : graph.inputs()) {
      inputs.push_back(numbers(graph.type(v), seed + static_cast<int>(index(v))));
      EXPECT_TRUE(context.bind_input(graph.value(v).name, inputs.back()).ok());
    }
    EXPECT_TRUE(context.run().ok());
    const auto want = interpret(graph, inputs);
    EXPECT_TRUE(want.ok()) << want.status().message();
    const Tensors got = context.outputs();
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].dims(), (*want)[i].dims());
      for (int64_t k = 0; k < got[i].count(); ++k)
        EXPECT_NEAR(got[i].at(k), (*want)[i].at(k), 1e-5) << i << " at " << k;
    }
  }
  int count = 0;
  for (const Step& s : data->program.steps) count += s.op == name;
  return count;
}

TEST(Parts, AConcatOfWhatKernelsMakeNeedsNoStep) {
  EXPECT_EQ(steps_of("Concat", R"g(graph "g" {
  input %1 "x" : f32[1,3,5]
  input %2 "y" : f32[1,2,5]
  %3 : f32[1,3,5] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
  %4 : f32[1,2,5] = Softmax(%2) {axis=2}
  %5 : f32[1,5,5] = Concat(%3, %4) {axis=1}
  %6 : f32[1,5,5] = Pointwise(%5) {program="in0:f32; square:f32(0)"}
  output %6 "z"
  output %3 "part"
}
)g"),
            0);
}

TEST(Parts, ConcatsInConcatsAndBehindViewsNeedNone) {
  EXPECT_EQ(steps_of("Concat", R"g(graph "g" {
  input %1 "x" : f32[6]
  input %2 "y" : f32[2,3]
  const %3 : i64[2] = [2, 3]
  %4 : f32[6] = Pointwise(%1) {program="in0:f32; tanh:f32(0)"}
  %5 : f32[2,3] = Reshape(%4, %3) {allow_zero=false}
  %6 : f32[2,3] = Softmax(%2) {axis=1}
  %7 : f32[4,3] = Concat(%6, %5) {axis=0}
  %8 : f32[2,3] = Softmax(%5) {axis=1}
  %9 : f32[6,3] = Concat(%8, %7) {axis=0}
  output %9 "z"
}
)g"),
            0);
}

TEST(Parts, WhatIsBoundOrConstantOrThereTwiceIsCopied) {
  EXPECT_EQ(steps_of("Concat", R"g(graph "g" {
  input %1 "x" : f32[2]
  const %2 : f32[3] = [1, 2, 3]
  %3 : f32[2] = Softmax(%1) {axis=0}
  %4 : f32[9] = Concat(%3, %1, %3, %2) {axis=0}
  %5 : f32[4] = Concat(%1, %3) {axis=0}
  output %4 "a"
  output %5 "b"
}
)g"),
            2);
}

TEST(Parts, PartsThatAreNoRunsAreCopied) {
  EXPECT_EQ(steps_of("Concat", R"g(graph "g" {
  input %1 "x" : f32[2,3]
  %3 : f32[2,3] = Softmax(%1) {axis=1}
  %4 : f32[2,3] = Softmax(%3) {axis=0}
  %5 : f32[2,6] = Concat(%3, %4) {axis=1}
  output %5 "z"
}
)g"),
            1);
}

TEST(Parts, NothingTakesOverTheMemoryOfAPart) {
  EXPECT_EQ(steps_of("Concat", R"g(graph "g" {
  input %1 "x" : f32[8]
  %2 : f32[8] = Softmax(%1) {axis=0}
  %3 : f32[8] = Softmax(%2) {axis=0}
  %4 : f32[16] = Concat(%2, %3) {axis=0}
  %5 : f32[8] = Pointwise(%3) {program="in0:f32; tanh:f32(0)"}
  %6 : f32[8] = Softmax(%5) {axis=0}
  %7 : f32[16] = Softmax(%4) {axis=0}
  %8 : f32[16] = Concat(%6, %5) {axis=0}
  output %7 "a"
  output %8 "b"
}
)g"),
            0);
}

constexpr const char* kSplit = R"g(graph "g" {{
  input %1 "x" : f32[{0}]
  %2 : f32[{0}] = Softmax(%1) {{axis=1}}
  %3 : f32[{1}], %4 : f32[{1}] = Split(%2) {{axis={2}}}
  %5 : f32[{1}] = Softmax(%4) {{axis=0}}
  %6 : f32[{1}] = Pointwise(%3, %5) {{program="in0:f32; in1:f32; sub:f32(0,1)"}}
  output %6 "z"
}}
)g";

TEST(Parts, ASplitIntoRunsIsAView) {
  EXPECT_EQ(steps_of("Split", fmt::format(kSplit, "1,10", "1,5", 1)), 0);
  EXPECT_EQ(steps_of("Split", fmt::format(kSplit, "4,3", "2,3", 0)), 0);
  EXPECT_EQ(steps_of("Split", fmt::format(kSplit, "2,10", "2,5", -1)), 1);
}

TEST(Parts, OffsetsAreInBytes) {
  const Graph graph = parse(R"g(graph "g" {
  input %1 "x" : i64[1,2]
  %2 : i64[1,2] = Pointwise(%1) {program="in0:i64; neg:i64(0)"}
  %3 : i64[1,4] = Concat(%1, %2) {axis=-1}
  output %3 "y"
}
)g");
  const auto parts = parts_of_concats(graph);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts.begin()->second.offset, 16);
  EXPECT_EQ(parts.begin()->second.whole, graph.outputs()[0]);
}

}  // namespace
}  // namespace hone
