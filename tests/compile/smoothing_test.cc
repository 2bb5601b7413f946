#include "compile/smoothing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "compile/divided_samples.h"
#include "ops/matmul.h"
#include "small_network.h"

namespace hone {
namespace {

const Machine kMachine{.max_tier = 1};
constexpr double kExponents[] = {0.3, 0.5, 0.7};

struct Case {
  Graph floats;
  CompileOptions options{.target = "cpu", .threads = 1};
};

// A product whose input has channels of magnitudes from 1 to `spread`, in a random order; the weights of a channel are
// smaller by a power of its magnitude.
Case with_channels(double spread, double power, size_t samples) {
  constexpr int64_t kRows = 16, kChannels = 64, kOutputs = 32;
  std::mt19937 gen(5);
  std::vector<double> magnitudes;
  for (int64_t k = 0; k < kChannels; ++k) magnitudes.push_back(std::pow(spread, static_cast<double>(k) / kChannels));
  std::ranges::shuffle(magnitudes, gen);
  Case c;
  const ValueId x = c.floats.add_input("x", {DType::f32, Shape::of(Dims{kRows, kChannels})});
  Tensor weights = testing::random_tensor({kChannels, kOutputs}, 1);
  for (int64_t i = 0; i < weights.count(); ++i)
    weights.set(i, weights.at(i) / std::pow(magnitudes[static_cast<size_t>(i / kOutputs)], power));
  const auto node = c.floats.add_node(MatMul{}, {x, c.floats.add_constant(weights, "w")}, 1, {"product"});
  EXPECT_TRUE(node.ok()) << node.status().message();
  c.floats.add_output(c.floats.node(*node).outputs[0], "y");
  Magnitude& range = c.options.thresholds["x"];
  range.channels.resize(kChannels);
  for (unsigned k = 0; k < samples; ++k) {
    Tensor value = testing::random_tensor({kRows, kChannels}, 20 + k);
    for (int64_t i = 0; i < value.count(); ++i) {
      const auto channel = static_cast<size_t>(i % kChannels);
      value.set(i, value.at(i) * magnitudes[channel]);
      range.channels[channel] = std::max(range.channels[channel], std::fabs(value.at(i)));
      range.whole = std::max(range.whole, range.channels[channel]);
    }
    c.options.samples.push_back({value});
  }
  return c;
}

Graph with_exponent(const Case& c, double exponent) {
  Graph integers = c.floats;
  quantize(integers, c.options.thresholds, kMachine, {}, DType::i8, exponent);
  return integers;
}

double error_on_judges(const Case& c, const Graph& integers) {
  OutputDistance distance;
  for (const Tensors& inputs : divided(c.floats, c.options.samples).judges) {
    const auto a = interpret(integers, inputs), b = interpret(c.floats, inputs);
    EXPECT_TRUE(a.ok() && b.ok());
    distance.add((*a)[0], (*b)[0]);
  }
  return distance.distance().error;
}

TEST(Smoothing, TakesTheExponentThatChangesTheOutputsLeast) {
  std::set<double> taken;
  for (const double power : {0.0, 1.0}) {
    const Case c = with_channels(100, power, 12);
    Graph best;
    const auto made = quantize_smoothly(c.floats, c.options, kMachine, {}, best);
    ASSERT_TRUE(made.ok()) << made.status().message();
    ASSERT_TRUE(verify(best).ok()) << verify(best).message();
    double least = INFINITY, largest = 0;
    for (const double exponent : kExponents) {
      const Graph integers = with_exponent(c, exponent);
      const double error = error_on_judges(c, integers);
      least = std::min(least, error);
      largest = std::max(largest, error);
      if (equal(integers, best)) taken.insert(exponent);
    }
    EXPECT_LT(least, 0.99 * largest) << power;
    EXPECT_NEAR(error_on_judges(c, best), least, 1e-6 * least) << power;
  }
  EXPECT_EQ(taken.size(), 2u);
}

TEST(Smoothing, WithoutSamplesTheUsualOneIsTaken) {
  Case c = with_channels(100, 0, 8);
  c.options.samples.clear();
  Graph integers;
  ASSERT_TRUE(quantize_smoothly(c.floats, c.options, kMachine, {}, integers).ok());
  EXPECT_TRUE(equal(integers, with_exponent(c, kUsualExponent)));
}

}  // namespace
}  // namespace hone
