#include "compile/bias_correction.h"

#include <gtest/gtest.h>

#include <cmath>

#include "passes/pipeline.h"
#include "small_network.h"

namespace hone {
namespace {

struct Case {
  DType type = DType::i8;
  Graph floats, integers;
  Int8Network made;
  CompileOptions options{.target = "cpu", .threads = 1};
};

Tensor noise(unsigned seed) { return testing::random_tensor({2, 3, 12, 12}, seed); }

// Dark but for a corner.
Tensor mostly_background(unsigned seed) {
  Tensor image = noise(seed);
  for (int64_t i = 0; i < image.count(); ++i)
    if (i % 12 > 3 || i / 12 % 12 > 3) image.set(i, -0.71);
  return image;
}

using Draw = Tensor (*)(unsigned seed);

// The network with ranges that are found on samples and cut to a `part`: so much is clipped.
Case clipped(double part, size_t samples, DType type = DType::i8, Draw draw = noise) {
  Case c{.type = type};
  c.floats = testing::small_network();
  EXPECT_TRUE(assign_layout(c.floats).ok());
  for (NodeId id : c.floats.order())
    for (ValueId v : c.floats.node(id).outputs) c.floats.set_name(v, fmt::format("v{}", index(v)));
  Thresholds ranges{{"x", {part}}};
  for (unsigned k = 0; k < samples; ++k) {
    c.options.samples.push_back({draw(20 + k)});
    const auto ran = interpret(c.floats, c.options.samples.back(), [&](NodeId id, std::span<const Tensor> values) {
      double& whole = ranges[fmt::format("v{}", index(c.floats.node(id).outputs[0]))].whole;
      for (int64_t e = 0; e < values[0].count(); ++e) whole = std::max(whole, part * std::fabs(values[0].at(e)));
    });
    EXPECT_TRUE(ran.ok());
  }
  c.integers = c.floats;
  const bool fp8 = type == DType::f8e4m3fn;
  c.made = quantize(c.integers, ranges, fp8 ? Machine{.cuda_arch = "sm_90"} : Machine{.max_tier = 1}, {}, type);
  return c;
}

double error_of(const Graph& got, const Graph& want, Draw draw = noise) {
  OutputDistance distance;
  for (unsigned seed = 1; seed < 9; ++seed) {
    const Tensors inputs{draw(seed)};
    const auto a = interpret(got, inputs), b = interpret(want, inputs);
    EXPECT_TRUE(a.ok() && b.ok());
    distance.add((*a)[0], (*b)[0]);
  }
  return distance.distance().error;
}

TEST(BiasCorrection, TakesOutWhatClippingMoves) {
  Case c = clipped(0.35, 12);
  const double before = error_of(c.integers, c.floats);
  const auto note = correct_biases(c.floats, c.made.layers, c.options, c.type, c.integers);
  ASSERT_TRUE(note.ok()) << note.status().message();
  EXPECT_EQ(note->find("biases of int8 are corrected"), 0u) << *note;
  ASSERT_TRUE(verify(c.integers).ok()) << verify(c.integers).message();
  EXPECT_LT(error_of(c.integers, c.floats), before / 2) << before;  // clipped values vary, which no bias makes up for
  for (const Int8Layer& layer : c.made.layers) {
    const NodeId rescaling = c.integers.value(layer.result).producer;
    ASSERT_TRUE(c.integers.alive(rescaling)) << layer.name;
    EXPECT_EQ(c.integers.node(rescaling).inputs.size(), 3u) << layer.name;
  }
}

// What is rounded the same everywhere does not average out.
TEST(BiasCorrection, TakesOutWhatE4m3MakesOfABackground) {
  Case c = clipped(1, 12, DType::f8e4m3fn, mostly_background);
  ASSERT_GE(std::ranges::count(c.made.layers, "", &Int8Layer::reason), 2);
  const double before = error_of(c.integers, c.floats, mostly_background);
  const auto note = correct_biases(c.floats, c.made.layers, c.options, c.type, c.integers);
  ASSERT_TRUE(note.ok()) << note.status().message();
  EXPECT_EQ(note->find("biases of fp8 are corrected"), 0u) << *note;
  EXPECT_LT(error_of(c.integers, c.floats, mostly_background), before / 2) << before;
}

TEST(BiasCorrection, NothingIsDoneWithoutSamplesOrLayers) {
  Case c = clipped(0.5, 8);
  const Graph given = c.integers;
  c.options.samples.clear();
  auto note = correct_biases(c.floats, c.made.layers, c.options, c.type, c.integers);
  ASSERT_TRUE(note.ok()) << note.status().message();
  EXPECT_EQ(*note, "");
  EXPECT_TRUE(equal(c.integers, given));
  c.options.samples.push_back({testing::random_tensor({2, 3, 12, 12}, 20)});
  for (Int8Layer& layer : c.made.layers) layer.reason = "it is to stay in floats";
  note = correct_biases(c.floats, c.made.layers, c.options, c.type, c.integers);
  ASSERT_TRUE(note.ok()) << note.status().message();
  EXPECT_EQ(*note, "");
}

// What images far beyond the ranges ask for does not suit those that judge.
TEST(BiasCorrection, IsLeftAwayWhereItDoesNotHelp) {
  Case c = clipped(1, 8);
  for (unsigned k = 0; k < 8; ++k)
    if (k % 4 != 3) c.options.samples[k] = {testing::random_tensor({2, 3, 12, 12}, 20 + k, 30)};
  const Graph given = c.integers;
  const auto note = correct_biases(c.floats, c.made.layers, c.options, c.type, c.integers);
  ASSERT_TRUE(note.ok()) << note.status().message();
  EXPECT_EQ(note->find("biases of int8 are not corrected"), 0u) << *note;
  EXPECT_TRUE(equal(c.integers, given));
}

}  // namespace
}  // namespace hone
