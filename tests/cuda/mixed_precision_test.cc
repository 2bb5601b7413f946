// A network for a GPU that need not be here is divided between precisions by times that are given: engines as they are
// built, their steps' times by what they compute.
#include "compile/mixed_precision.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cuda/nvrtc.h"
#include "engine/inspect.h"
#include "small_network.h"

namespace hone {
namespace {

// Four convolutions in a row, each with a relu, and a softmax.
Graph chain() {
  Graph g;
  const auto node = [&](const char* op, const Attrs& attrs, std::vector<ValueId> inputs, const std::string& source) {
    return g.node(*g.add_node(*make_op(op, attrs), std::move(inputs), 1, {source})).outputs[0];
  };
  ValueId v = g.add_input("x", {DType::f32, Shape::of(Dims{1, 16, 16, 64})});
  for (const char* name : {"a", "b", "c", "d"}) {
    const Attrs conv{{"strides", std::vector<int64_t>{1, 1}},
                     {"dilations", std::vector<int64_t>{1, 1}},
                     {"pads", std::vector<int64_t>(4, 1)},
                     {"channels_last", true}};
    v = node("Conv", conv, {v, g.add_constant(testing::random_tensor({64, 64, 3, 3}, 1, 0.1f), "w")}, name);
    v = node("Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {v}, std::string("relu ") + name);
    g.set_name(v, std::string("after ") + name);
  }
  g.add_output(node("Softmax", {{"axis", int64_t{-1}}}, {v}, "softmax"), "y");
  return g;
}

// Microseconds by layer and precision; other layers take 10, in fp32 20, and what computes nothing 1.
using Times = std::map<std::pair<std::string, std::string>, double>;

class MixedPrecision : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  }

  // The engine that is chosen by `times`. A cast is as fast as `bytes_per_s`.
  EngineData choose(CompileOptions options, const Times& times, double bytes_per_s = 1e12) {
    options.target = "cuda";
    options.cuda_arch = "sm_90";
    options.tune = false;
    const Graph graph = chain();
    const auto chosen = choose_precisions(
        options, {.compile = [&](const CompileOptions& o) { return timed(graph, o, times); },
                  .time_us = [](const EngineData& e) -> Result<double> { return network_us(e); },
                  .runs = true,
                  .timed = true,
                  .reduces = true,
                  .peaks = [&]() -> Peaks {
                    return {.rates = {{"fp32", 1e15}}, .bandwidths = {{.bytes = 1, .bytes_per_s = bytes_per_s}}};
                  }});
    EXPECT_TRUE(chosen.ok()) << chosen.status().message();
    return chosen.ok() ? chosen->engine : EngineData();
  }

  static double network_us(const EngineData& engine) {
    double us = 0;
    for (const Step& step : engine.program.steps) us += step.time_us;
    return us;
  }

  static std::map<std::string, LayerPrecision> layers(const EngineData& engine) {
    std::map<std::string, LayerPrecision> rows;
    for (const LayerPrecision& layer : engine.program.build.layers) {
      EXPECT_TRUE(rows.emplace(layer.name, layer).second) << layer.name << " has two rows";
      EXPECT_NE(inspect_json(engine.program).find(layer.reason), std::string::npos);
    }
    return rows;
  }

  static std::string precisions(const EngineData& engine) {
    std::string text;
    for (const auto& [name, layer] : layers(engine)) text += (text.empty() ? "" : " ") + layer.precision;
    return text;
  }

  static bool notes_have(const EngineData& engine, const std::string& words) {
    return std::ranges::any_of(engine.program.build.notes,
                               [&](const std::string& note) { return note.find(words) != std::string::npos; });
  }

  static CompileOptions in_8_bits(DType type) {
    CompileOptions options{.half = DType::f16, .bytes = {type}};
    for (const char* name : {"x", "after a", "after b", "after c", "after d"})
      options.thresholds[name] = {.whole = 4, .largest = 4};
    return options;
  }

  std::vector<EngineData> made;

 private:
  Result<EngineData> timed(const Graph& graph, const CompileOptions& options, const Times& times) {
    HONE_TRY(EngineData engine, compile_graph(graph, options));
    for (Step& step : engine.program.steps) {
      const auto known = times.find({layer_name(step), std::string(precision_of(step))});
      const bool computes = step.tactic.find("conv") != std::string::npos;
      const bool fp32 = precision_of(step) == "fp32";
      step.time_us = !computes ? 1 : known != times.end() ? known->second : fp32 ? 20 : 10;
    }
    for (LayerPrecision& layer : engine.program.build.layers) layer.reason.clear();  // that nothing was timed
    made.push_back(engine);
    return engine;
  }
};

TEST_F(MixedPrecision, LayersThat8BitsSlowDownStayInFp16) {
  for (const auto& [type, name] : {std::pair{DType::i8, std::string("int8")}, {DType::f8e4m3fn, std::string("fp8")}}) {
    const Times times{{{"a", name}, 4}, {{"b", name}, 4}, {{"c", name}, 25}, {{"d", name}, 4}, {{"c", "fp16"}, 8}};
    const EngineData engine = choose(in_8_bits(type), times);
    EXPECT_EQ(precisions(engine), name + " " + name + " fp16 " + name);
    EXPECT_EQ(layers(engine).at("c").reason, "it is 17.0 us slower in " + name);
    EXPECT_EQ(layers(engine).at("c").won_us, -17);
    EXPECT_EQ(layers(engine).at("a").reason, "faster as a whole");
    EXPECT_EQ(layers(engine).at("a").won_us, 6);
    for (const EngineData& other : made) EXPECT_LE(network_us(engine), network_us(other));
    made.clear();
  }
}

// "d" wins 2 us alone; a cast of 16384 numbers to fp16 and back takes 1 us and 49 KB.
TEST_F(MixedPrecision, WhatWinsLessThanItsCastsStaysWithItsNeighbours) {
  const Times times{{{"a", "int8"}, 4}, {{"b", "int8"}, 4}, {{"c", "int8"}, 25}, {{"d", "int8"}, 8}};
  EXPECT_EQ(precisions(choose(in_8_bits(DType::i8), times)), "int8 int8 fp16 int8") << "49 ns";
  const EngineData slow = choose(in_8_bits(DType::i8), times, 4e10);
  EXPECT_EQ(precisions(slow), "int8 int8 fp16 fp16") << "1.2 us";
  EXPECT_EQ(layers(slow).at("d").reason,
            "its neighbours are slower in int8, and casts between cost more than the 2.0 us that it wins");
}

TEST_F(MixedPrecision, WhereNoLayerWinsNoneIsIn8Bits) {
  const Times times{{{"a", "int8"}, 11}, {{"b", "int8"}, 11}, {{"c", "int8"}, 11}, {{"d", "int8"}, 11}};
  const EngineData engine = choose(in_8_bits(DType::i8), times);
  EXPECT_EQ(precisions(engine), "fp16 fp16 fp16 fp16");
  EXPECT_EQ(layers(engine).at("a").reason, "the whole network is faster without int8");
}

TEST_F(MixedPrecision, LayersThatHalvesSlowDownStayInFp32) {
  for (const auto& [half, name] : {std::pair{DType::f16, std::string("fp16")}, {DType::bf16, std::string("bf16")}}) {
    const EngineData engine = choose({.half = half}, {{{"b", name}, 50}});
    EXPECT_EQ(precisions(engine), name + " fp32 " + name + " " + name);
    EXPECT_EQ(layers(engine).at("b").reason, "it is 30.0 us slower in " + name);
    EXPECT_EQ(layers(engine).at("b").won_us, -30);
    EXPECT_EQ(layers(engine).at("c").reason, "faster as a whole");
    EXPECT_TRUE(notes_have(engine, "some layers stay in fp32")) << engine.program.build.notes.at(0);
    for (const EngineData& other : made) EXPECT_LE(network_us(engine), network_us(other));
    made.clear();
  }
  const EngineData whole = choose({.half = DType::f16}, {{{"b", "fp16"}, 21}}, 1e10);
  EXPECT_EQ(precisions(whole), "fp16 fp16 fp16 fp16") << "two casts of 98 KB take 20 us";
  EXPECT_FALSE(notes_have(whole, "in fp32: the network takes"));
}

// Of int8's layers those that int8 slows down go to fp16, but where that is slower still.
TEST_F(MixedPrecision, LayersOfAllThreeStandBesideEachOther) {
  const Times times{
      {{"a", "int8"}, 4}, {{"b", "fp16"}, 50}, {{"b", "int8"}, 60}, {{"c", "int8"}, 30}, {{"d", "int8"}, 4}};
  const EngineData engine = choose(in_8_bits(DType::i8), times);
  EXPECT_EQ(precisions(engine), "int8 fp32 fp16 int8");
  for (const EngineData& other : made) EXPECT_LE(network_us(engine), network_us(other));
}

}  // namespace
}  // namespace hone
