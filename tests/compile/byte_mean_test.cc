// The mean of an image that layers in int8 make is that of its bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends/quantize.h"
#include "backends/quantized_model.h"
#include "compile/compile.h"
#include "kernels/cpu/int8/int8.h"
#include "ops/reduce.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::random_tensor;
using testing::signal_to_noise_db;

const Machine kMachine{.max_tier = static_cast<int>(cpu::Tier::avx512)};
const Tensors kInputs{random_tensor({2, 3, 12, 12}, 9)};

// Names every value and returns the largest magnitudes.
Thresholds ranges_of(Graph& g) {
  Thresholds ranges;
  const auto see = [&](const std::string& name, const Tensor& t) {
    for (int64_t i = 0; is_float(t.type()) && i < t.count(); ++i)
      ranges[name].whole = std::max(ranges[name].whole, std::fabs(t.at(i)));
  };
  see("x", kInputs[0]);
  for (NodeId id : g.order()) g.set_name(g.node(id).outputs[0], fmt::format("v{}", index(g.node(id).outputs[0])));
  const auto ran = interpret(g, kInputs, [&](NodeId id, std::span<const Tensor> values) {
    see(g.value(g.node(id).outputs[0]).name, values[0]);
  });
  EXPECT_TRUE(ran.ok());
  return ranges;
}

NodeId mean_of(const Graph& g) {
  for (NodeId id : g.order())
    if (g.node(id).op.as<Reduce>() != nullptr) return id;
  return NodeId::none;
}

Tensor run(const Graph& g, const std::string& target) {
  auto data = compile_graph(g, {.target = target, .threads = 2, .tune = false, .timing_cache = ""});
  EXPECT_TRUE(data.ok()) << data.status().message();
  const bool of_bytes =
      std::ranges::any_of(data->program.steps, [](const Step& s) { return s.tactic == "cpu.byte_sums"; });
  EXPECT_EQ(of_bytes, target == "cpu");
  auto engine = LoadedEngine::make(std::move(*data));
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  EXPECT_TRUE(context.bind_input("x", kInputs[0]).ok());
  EXPECT_TRUE(context.run().ok());
  return context.outputs()[0];
}

TEST(ByteMean, ReadsWhatTheLastLayerWrites) {
  if (!cpu::has_int8_set(cpu::Int8Set::avx2)) GTEST_SKIP() << "no fast int8 kernels here";
  Graph before = testing::small_network();
  const Thresholds ranges = ranges_of(before);
  Graph now = before;
  const Int8Network made = quantize(now, ranges, kMachine);
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  const Node& mean = now.node(mean_of(now));
  EXPECT_EQ(mean.op.as<Reduce>()->kind, "sum_i32");
  EXPECT_EQ(now.type(mean.inputs[0]).dtype, DType::i8);
  EXPECT_EQ(now.type(mean.outputs[0]).dtype, DType::i32);
  const ValueId image = before.node(mean_of(before)).inputs[0];
  EXPECT_TRUE(std::ranges::any_of(made.tensors, [&](const Int8Tensor& t) { return t.value == image; }));
  const auto got = interpret(now, kInputs), want = interpret(before, kInputs);
  ASSERT_TRUE(got.ok() && want.ok());
  EXPECT_GT(signal_to_noise_db((*got)[0], (*want)[0]), 30);
  EXPECT_GT(signal_to_noise_db(run(now, "cpu"), run(now, "reference")), 100);
}

TEST(ByteMean, OfWhatElseIsReadOrNotMadeInBytesStaysInFloats) {
  Graph before = testing::small_network();
  const Thresholds ranges = ranges_of(before);
  const ValueId image = before.node(mean_of(before)).inputs[0];
  const auto kind = [&](Graph g, const Thresholds& known, const std::set<std::string>& floats) {
    (void)quantize(g, known, kMachine, floats);
    EXPECT_TRUE(verify(g).ok()) << verify(g).message();
    return g.node(mean_of(g)).op.as<Reduce>()->kind;
  };
  Graph read = before;
  read.add_output(image, "image");
  EXPECT_EQ(kind(read, ranges, {}), "mean");
  EXPECT_EQ(kind(before, ranges, {"Conv"}), "mean");
  Thresholds fewer = ranges;
  fewer.erase(before.value(image).name);
  EXPECT_EQ(kind(before, fewer, {}), "mean");
}

// Of a model that comes quantised, with a zero point.
TEST(ByteMean, OfAQuantisedModel) {
  auto g = graph_from_text(R"hone(graph {
    input %1 "x" : f32[2,3,12,12]
    const %2 : f32[] = [0.010713]
    const %3 : u8[] = [11]
    const %4 : i64[2] = [2,3]
    %5 = Quantize(%1, %2, %3) {type="u8"}
    %6 = Dequantize(%5, %2, %3)
    %7 = Reduce(%6, %4) {kind="mean"}
    output %7 "y"
  })hone");
  ASSERT_TRUE(g.ok()) << g.status().message();
  Graph now = *g;
  EXPECT_TRUE(run_quantized_model_in_integers(now, kMachine));
  ASSERT_TRUE(verify(now).ok()) << verify(now).message();
  EXPECT_EQ(now.node(mean_of(now)).op.as<Reduce>()->kind, "sum_i32");
  const auto got = interpret(now, kInputs), want = interpret(*g, kInputs);
  ASSERT_TRUE(got.ok() && want.ok());
  for (int64_t i = 0; i < (*want)[0].count(); ++i) EXPECT_NEAR((*got)[0].at(i), (*want)[0].at(i), 1e-6);
  EXPECT_GT(signal_to_noise_db(run(*g, "cpu"), (*want)[0]), 100);
}

}  // namespace
}  // namespace hone
