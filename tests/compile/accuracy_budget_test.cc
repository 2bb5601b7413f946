#include "compile/accuracy_budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace hone {
namespace {

// A network whose layers each add an error.
struct Described {
  std::vector<double> errors;
  double most = 0;
  std::vector<double> felt = {};  // as sensitivities, where they mislead
  size_t engines = 0, alone = 0;
  InInt8 last_yes = {};

  double error(const InInt8& layers) const {
    double sum = 0;
    for (size_t i = 0; i < layers.size(); ++i) sum += layers[i] ? errors[i] : 0;
    return sum;
  }
  Result<std::optional<InInt8>> search() {
    return most_in_int8(errors.size(), {.keeps_budget = [&](const InInt8& layers) -> Result<bool> {
                                          ++engines;
                                          const bool kept = error(layers) <= most;
                                          if (kept) last_yes = layers;
                                          return kept;
                                        },
                                        .sensitivity = [&](size_t layer) -> Result<double> {
                                          ++alone;
                                          return felt.empty() ? errors[layer] : felt[layer];
                                        }});
  }
};

std::vector<size_t> in_floats(const InInt8& layers) {
  std::vector<size_t> left;
  for (size_t i = 0; i < layers.size(); ++i)
    if (!layers[i]) left.push_back(i);
  return left;
}

// The layers that are left in floats.
std::vector<size_t> found(Described& network) {
  const auto got = network.search();
  EXPECT_TRUE(got.ok());
  if (!got.ok() || !*got) return {};
  EXPECT_LE(network.error(**got), network.most);
  EXPECT_EQ(network.last_yes, **got);
  return in_floats(**got);
}

TEST(AccuracyBudget, WithoutNeedNothingIsMeasuredAlone) {
  Described network{.errors = {1, 2, 3}, .most = 6};
  EXPECT_EQ(found(network), std::vector<size_t>{});
  EXPECT_EQ(network.engines, 1u);
  EXPECT_EQ(network.alone, 0u);
}

TEST(AccuracyBudget, TheWorstGoBackToFloats) {
  Described network{.errors = {1, 50, 1, 1, 30, 1, 1, 1}, .most = 6};
  EXPECT_EQ(found(network), (std::vector<size_t>{1, 4}));
  EXPECT_EQ(network.alone, 8u);
}

TEST(AccuracyBudget, BuildsFewEngines) {
  Described network{.errors = std::vector<double>(200, 1), .most = 199};
  network.errors[77] = 100;
  network.errors[133] = 90;
  EXPECT_EQ(found(network), (std::vector<size_t>{77, 133}));
  EXPECT_LE(network.engines, 12u);
}

// Layers that look worse than they are come back into int8.
TEST(AccuracyBudget, WhatIsNotNeededInFloatsIsTakenBack) {
  Described network{.errors = {0, 0, 0, 9, 0, 0, 0, 9}, .most = 1, .felt = {8, 7, 6, 5, 4, 3, 2, 1}};
  EXPECT_EQ(found(network), (std::vector<size_t>{3, 7}));
}

TEST(AccuracyBudget, EveryLayerInFloatsIsNoInt8) {
  Described network{.errors = {2, 3, 4}, .most = 1};
  const auto got = network.search();
  ASSERT_TRUE(got.ok());
  EXPECT_FALSE(got->has_value());
  Described none{.errors = {}, .most = 1};
  const auto nothing = none.search();
  EXPECT_TRUE(nothing.ok() && !nothing->has_value());
}

// A question is asked once, and what is not a number is the worst.
TEST(AccuracyBudget, ErrorsThatAreNoNumbersAreTheWorst) {
  Described network{.errors = {1, 1, 40, 1}, .most = 3, .felt = {1, 2, NAN, 3}};
  EXPECT_EQ(found(network), std::vector<size_t>{2});
}

TEST(AccuracyBudget, FailuresAreHandedOn) {
  const auto fails = [](const auto&) { return Status(Code::cancelled, "stopped"); };
  const auto got = most_in_int8(3, {.keeps_budget = fails, .sensitivity = fails});
  EXPECT_EQ(got.status().code(), Code::cancelled);
}

}  // namespace
}  // namespace hone
