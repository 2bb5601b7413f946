// Reduced precision is kept where the network is faster with it: by engines that are described, and times that are made
// up.
#include <gtest/gtest.h>

#include <algorithm>

#include "compile/mixed_precision.h"

namespace hone {
namespace {

// A product of 2 * 64^3 operations and a sum that nobody counts, in the precision that the options allow.
EngineData engine_of(const CompileOptions& options) {
  const DType type = options.half == DType::none ? DType::f32 : options.half;
  const TensorType matrix{type, Shape::of(Dims{64, 64})};
  EngineData engine;
  Program& p = engine.program;
  p.name = options.half != DType::none ? "half" : options.tf32 ? "tf32" : "fp32";
  p.slots = {{.kind = Slot::Kind::input, .type = matrix},
             {.kind = Slot::Kind::constant, .type = matrix},
             {.kind = Slot::Kind::arena, .type = matrix}};
  p.steps = {{.tactic = p.name == "tf32" ? "cuda.matmul_mma" : "cuda.matmul",
              .op = "MatMul",
              .attrs = make_op("MatMul", {})->attrs(),
              .inputs = {0, 1},
              .outputs = {2},
              .input_types = {matrix, matrix},
              .sources = {"dense", "bias"},
              .time_us = p.name == "fp32" ? 9.0 : 4.0},
             {.tactic = "cuda.pointwise",
              .op = "Pointwise",
              .inputs = {2},
              .outputs = {2},
              .input_types = {matrix},
              .sources = {"relu"},
              .time_us = 1}};
  return engine;
}

struct Build {
  std::map<std::string, double> network_us;
  double fp32_operations_per_s = 0;
  bool timed = true;
  Status failure = {};  // of a run
  std::vector<std::string> made = {};

  EngineData run(const CompileOptions& options) {
    auto engine = choose(options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? std::move(engine->engine) : EngineData();
  }

  Result<Compiled> choose(const CompileOptions& options) {
    return choose_precisions(options, {.compile = [&](const CompileOptions& o) -> Result<EngineData> {
                                         EngineData one = engine_of(o);
                                         made.push_back(one.program.name);
                                         return one;
                                       },
                                       .time_us = [&](const EngineData& e) -> Result<double> {
                                         HONE_CHECK(failure);
                                         return network_us.at(e.program.name);
                                       },
                                       .runs = true,
                                       .timed = timed,
                                       .reduces = true,
                                       .peaks = [&]() -> Peaks {
                                         return {.rates = {{"fp32", fp32_operations_per_s}}, .bandwidths = {}};
                                       }});
  }
};

bool notes_have(const EngineData& engine, const std::string& words) {
  return std::ranges::any_of(engine.program.build.notes,
                             [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

TEST(NeverSlower, TheFasterIsKeptAndEachLayerSaysWhy) {
  for (const CompileOptions& options :
       {CompileOptions{.half = DType::f16}, CompileOptions{.half = DType::bf16}, CompileOptions{.tf32 = true}}) {
    const std::string reduced = options.tf32 ? "tf32" : "half";
    const std::string precision = options.tf32 ? "tf32" : options.half == DType::f16 ? "fp16" : "bf16";
    for (const double fp32_us : {50.0, 200.0}) {
      Build build{.network_us = {{reduced, 100}, {"fp32", fp32_us}}};
      const EngineData engine = build.run(options);
      const bool used = fp32_us > 100;
      EXPECT_EQ(engine.program.name, used ? reduced : "fp32");
      EXPECT_EQ(build.made, (std::vector<std::string>{reduced, "fp32"}));
      EXPECT_TRUE(
          notes_have(engine, precision + (used ? " is used: the network takes 0.100 ms with it and 0.200 ms"
                                               : " is not used: the network takes 0.100 ms with it and 0.050 ms")))
          << engine.program.build.notes.at(0);
      ASSERT_EQ(engine.program.build.layers.size(), 1u);  // the sum has nothing to gain
      const LayerPrecision& layer = engine.program.build.layers[0];
      EXPECT_EQ(layer.name, "dense");
      EXPECT_EQ(layer.precision, used ? precision : "fp32");
      EXPECT_EQ(layer.won_us, 5);
      EXPECT_EQ(layer.reason, used ? "faster as a whole" : "the whole network is faster in fp32");
    }
  }
}

// 2 * 64^3 operations take 1049 us at half a G a second, and 0.5 us at a T.
TEST(NeverSlower, WhatArithmeticForbidsIsNotMade) {
  Build hopeless{.network_us = {{"half", 1000}}, .fp32_operations_per_s = 0.5e9};
  const EngineData kept = hopeless.run({.half = DType::f16});
  EXPECT_EQ(kept.program.name, "half");
  EXPECT_EQ(hopeless.made, std::vector<std::string>{"half"});
  EXPECT_TRUE(notes_have(kept, "its arithmetic 2.097 ms in fp32"));
  ASSERT_EQ(kept.program.build.layers.size(), 1u);
  EXPECT_FALSE(kept.program.build.layers[0].won_us.has_value());
  Build open{.network_us = {{"half", 1000}, {"fp32", 900}}, .fp32_operations_per_s = 1e12};
  EXPECT_EQ(open.run({.half = DType::f16}).program.name, "fp32");
}

// As one of two branches, of which the other takes no data of this shape.
TEST(NeverSlower, WhatFailsOnRandomDataIsNotTimed) {
  Build raises{.failure = invalid("else_branch: the wrong rate")};
  const EngineData engine = raises.run({.half = DType::f16});
  EXPECT_EQ(engine.program.name, "half");
  EXPECT_EQ(raises.made, std::vector<std::string>{"half"});
  EXPECT_TRUE(notes_have(engine, "the network could not be timed (else_branch: the wrong rate)"));
  Build lost{.failure = Status(Code::device, "the GPU is lost")};
  EXPECT_EQ(lost.choose({.half = DType::f16}).status().code(), Code::device);
}

// An engine with each of the 8-bit types that are allowed; one where nothing is timed.
TEST(NeverSlower, OfInt8AndFp8OneIsTaken) {
  const auto run = [](const std::vector<DType>& bytes, std::vector<std::vector<DType>>& made) {
    const CompileOptions options{.thresholds = {{"x", {.whole = 1}}}, .bytes = bytes};
    const auto compiled = choose_precisions(options, {.compile = [&](const CompileOptions& o) -> Result<EngineData> {
                                              EngineData one = engine_of(o);
                                              if (!o.thresholds.empty())
                                                one.program.build.layers.push_back({.name = "dense"});
                                              made.push_back(o.thresholds.empty() ? std::vector<DType>() : o.bytes);
                                              return one;
                                            }});
    EXPECT_TRUE(compiled.ok()) << compiled.status().message();
    EXPECT_EQ(compiled->options.bytes, bytes);
    return compiled->engine.program.build.layers.at(0).reason;
  };
  std::vector<std::vector<DType>> made;
  EXPECT_EQ(run({DType::i8}, made), "int8 wherever it can be: nothing was timed");
  EXPECT_EQ(run({DType::i8, DType::f8e4m3fn}, made), "fp8 wherever it can be: nothing was timed");
  EXPECT_EQ(made, (std::vector<std::vector<DType>>{{DType::i8}, {DType::f8e4m3fn}}));
}

TEST(NeverSlower, WhereNothingIsTimedOrReducedOneEngineIsMade) {
  Build untimed{.timed = false};
  EXPECT_EQ(untimed.run({.half = DType::f16}).program.name, "half");
  EXPECT_EQ(untimed.made.size(), 1u);
  Build plain;
  EXPECT_EQ(plain.run({}).program.name, "fp32");
  EXPECT_EQ(plain.made.size(), 1u);
}

}  // namespace
}  // namespace hone
