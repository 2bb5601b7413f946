// The same bits in every run.
#include <gtest/gtest.h>

#include <cstring>

#include "backends/variation.h"
#include "compile/compile.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::add;

// Sums of every kind over enough elements that threads share them.
Graph wide_network() {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{64, 512})});
  const ValueId product = add(g, "MatMul", {}, {x, g.add_constant(testing::random_tensor({512, 256}, 1), "w")});
  const ValueId norm = add(g, "LayerNorm", {{"epsilon", 1e-5}, {"rms", true}}, {product});
  const ValueId scores = add(g, "MatMul", {{"trans_b", true}}, {norm, norm});
  const ValueId mixed = add(g, "MatMul", {}, {add(g, "Softmax", {{"axis", int64_t{-1}}}, {scores}), norm});
  g.add_output(add(g, "Reduce", {{"kind", std::string("mean")}, {"keep_dims", false}}, {mixed}), "mean");
  g.add_output(mixed, "y");
  return g;
}

Tensor copy_of(const Tensor& t) {
  Tensor copy(t.type(), t.dims());
  std::memcpy(copy.mutable_raw(), t.raw(), t.bytes());
  return copy;
}

TEST(Deterministic, RunsOnTheCpuGiveTheSameBits) {
  for (const Graph& graph : {testing::small_network(), wide_network()})
    for (const int threads : {1, 2, 4}) {
      auto data = compile_graph(graph, {.target = "cpu", .threads = threads, .deterministic = true, .tune = false});
      ASSERT_TRUE(data.ok()) << data.status().message();
      for (const Step& step : data->program.steps) EXPECT_EQ(step.varies, "") << step.label;
      const auto engine = LoadedEngine::make(std::move(*data));
      ASSERT_TRUE(engine.ok()) << engine.status().message();
      ExecutionContext context(*engine);
      const TensorType type = graph.type(graph.inputs()[0]);
      ASSERT_TRUE(context.bind_input("x", testing::random_tensor(*type.shape.concrete(), 9)).ok());
      Tensors first;
      for (int run = 0; run < 200; ++run) {
        ASSERT_TRUE(context.run().ok());
        const Tensors outputs = context.outputs();
        if (run > 0) {
          ASSERT_EQ(outputs, first) << threads << " threads, run " << run;
          continue;
        }
        for (const Tensor& t : outputs) first.push_back(copy_of(t));
      }
    }
}

Graph parsed(const std::string& text) {
  auto graph = graph_from_text(text);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? std::move(*graph) : Graph();
}

TEST(Deterministic, NumbersWithoutASeedAreRefusedAllAtOnce) {
  const Graph graph = parsed(R"hone(graph {
    input %1 "shape" : i64[2]
    %2 "a" = Random(%1) from "first"
    %3 "b" = Random(%1) {seeded=true, seed=7.0} from "second"
    %4 "c" = Random(%1) {kind="normal"} from "third"
    output %2 "a"
    output %3 "b"
    output %4 "c"
  })hone");
  const Status refused = compile_graph(graph, {.target = "reference", .deterministic = true}).status();
  EXPECT_EQ(refused.code(), Code::unsupported);
  for (const char* name : {"first", "third"})
    EXPECT_NE(refused.message().find(name), std::string::npos) << refused.message();
  EXPECT_EQ(refused.message().find("second"), std::string::npos) << refused.message();
  const auto allowed = compile_graph(graph, {.target = "reference"});
  ASSERT_TRUE(allowed.ok()) << allowed.status().message();
  size_t varying = 0;
  for (const Step& step : allowed->program.steps) varying += !step.varies.empty();
  EXPECT_EQ(varying, 2u);
}

// A body draws as well.
TEST(Deterministic, BodiesAreLookedAt) {
  const Graph graph = parsed(R"hone(graph {
    input %1 "c" : bool[]
    input %2 "shape" : i64[1]
    %3 "y" = If(%1, %2, %2) {else_branch=graph "e" {
      input %1 "shape" : i64[1]
      %2 = Random(%1) from "inner"
      output %2 "o"
    }, then_branch=graph "t" {
      input %1 "shape" : i64[1]
      %2 = Random(%1) {seeded=true} from "seeded"
      output %2 "o"
    }}
    output %3 "y"
  })hone");
  const Status refused = refuse_variation(graph);
  EXPECT_NE(refused.message().find("inner"), std::string::npos) << refused.message();
  EXPECT_EQ(refused.message().find("seeded'"), std::string::npos) << refused.message();
  EXPECT_NE(variation_of(graph.node(graph.order()[0]).op), "");
}

}  // namespace
}  // namespace hone
