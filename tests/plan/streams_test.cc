#include "plan/streams.h"

#include <gtest/gtest.h>

#include "plan/random_steps.h"

namespace hone {
namespace {

using testing::closure;

bool orders(const std::vector<std::vector<bool>>& before, const std::vector<ScheduledStep>& steps) {
  for (size_t b = 0; b < steps.size(); ++b)
    for (int a : steps[b].after)
      if (!before[static_cast<size_t>(a)][b]) return false;
  return true;
}

TEST(Streams, OrderAllDependenciesByAsFewWaitsAsCanBe) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    const auto steps = testing::random_steps(random);
    const int most = 1 + round % 4, count = static_cast<int>(steps.size());
    const Schedule schedule = schedule_streams(steps, most);
    ASSERT_EQ(schedule.stream.size(), steps.size());
    ASSERT_EQ(schedule.waits.size(), steps.size());
    EXPECT_LE(schedule.streams, most);
    for (int s = 0; s < schedule.streams; ++s) EXPECT_EQ(std::ranges::count(schedule.stream, s) > 0, true);
    const auto before = closure(schedule.stream, schedule.waits);
    ASSERT_TRUE(orders(before, steps)) << round;
    for (int a = 0; a < count; ++a)
      for (int b = 0; b < count; ++b)
        EXPECT_EQ(schedule.before(a, b), before[static_cast<size_t>(a)][static_cast<size_t>(b)]) << a << " " << b;
    for (size_t b = 0; b < steps.size(); ++b)
      for (size_t k = 0; k < schedule.waits[b].size(); ++k) {
        const auto a = static_cast<size_t>(schedule.waits[b][k]);
        EXPECT_LT(a, b);
        EXPECT_NE(schedule.stream[a], schedule.stream[b]);
        auto fewer = schedule.waits;
        fewer[b].erase(fewer[b].begin() + static_cast<std::ptrdiff_t>(k));
        EXPECT_FALSE(orders(closure(schedule.stream, fewer), steps)) << a << " before " << b << " follows";
      }
  }
}

TEST(Streams, TheEndOfAllIsBehindEveryStep) {
  const std::vector<ScheduledStep> steps{{{}, 5}, {{}, 5}};
  const Schedule schedule = schedule_streams(steps, 2);
  EXPECT_TRUE(schedule.before(0, 2));
  EXPECT_TRUE(schedule.before(1, 2));
  EXPECT_FALSE(schedule.before(2, 0));
  EXPECT_FALSE(schedule.before(0, 1));
}

TEST(Streams, OneStreamNeedsNoWaits) {
  std::mt19937 random(3);
  const auto steps = testing::random_steps(random);
  const Schedule schedule = schedule_streams(steps, 1);
  EXPECT_EQ(schedule.streams, 1);
  for (const auto& waits : schedule.waits) EXPECT_TRUE(waits.empty());
}

TEST(Streams, AChainStaysInOne) {
  std::vector<ScheduledStep> chain{{{}, 3}};
  for (int i = 1; i < 20; ++i) chain.push_back({{i - 1}, 3});
  EXPECT_EQ(schedule_streams(chain, 4).streams, 1);
}

// Four branches between a first and a last step, as in Inception.
TEST(Streams, BranchesGetStreamsOfTheirOwn) {
  std::vector<ScheduledStep> steps{{{}, 10}};
  std::vector<int> ends;
  for (int branch = 0; branch < 4; ++branch)
    for (int i = 0; i < 3; ++i) {
      const int index = static_cast<int>(steps.size());
      steps.push_back({{i == 0 ? 0 : index - 1}, 10.0 + branch});
      if (i == 2) ends.push_back(index);
    }
  steps.push_back({ends, 10});
  const Schedule schedule = schedule_streams(steps, 4);
  EXPECT_EQ(schedule.stream, (std::vector<int>{0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0, 0}));
  EXPECT_EQ(schedule.waits[4], std::vector<int>{0});
  EXPECT_EQ(schedule.waits[5], std::vector<int>{});
  EXPECT_EQ(schedule.waits.back(), (std::vector<int>{9, 6, 3}));  // the longest branch goes on
  const Schedule two = schedule_streams(steps, 2);
  EXPECT_EQ(two.streams, 2);
  EXPECT_EQ(std::ranges::count(two.stream, 0), 8);  // the first, the last and two branches
}

// As in a block of ResNet: what comes first in order is not what the rest waits for.
TEST(Streams, TheLongestPathDoesNotChangeStreams) {
  const std::vector<ScheduledStep> steps{{{}, 5}, {{0}, 4}, {{0}, 3}, {{2}, 3}, {{1, 3}, 3}, {{4}, 3}};
  const Schedule schedule = schedule_streams(steps, 4);
  EXPECT_EQ(schedule.stream, (std::vector<int>{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(schedule.waits, (std::vector<std::vector<int>>{{}, {0}, {}, {}, {1}, {}}));
}

// Next to a long step, what is too short to be worth a wait stays where it is.
TEST(Streams, AShortBranchDoesNotWait) {
  const std::vector<ScheduledStep> steps{{{}, 10}, {{0}, 0.5}, {{0}, 10}, {{1, 2}, 1}};
  EXPECT_EQ(schedule_streams(steps, 2).streams, 1);
}

}  // namespace
}  // namespace hone
