#include "plan/memory.h"

#include <gtest/gtest.h>

#include <random>

#include "plan/random_steps.h"

namespace hone {
namespace {

void expect_valid(const std::vector<Lifetime>& buffers, int64_t align) {
  const MemoryPlan plan = plan_memory(buffers, align);
  ASSERT_EQ(plan.offsets.size(), buffers.size());
  EXPECT_GE(plan.arena_bytes, plan.lower_bound_bytes);
  EXPECT_LE(plan.arena_bytes, plan.without_reuse_bytes);
  int last = 0;
  int64_t most = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    last = std::max(last, buffers[i].last);
    EXPECT_EQ(plan.offsets[i] % align, 0);
    EXPECT_GE(plan.offsets[i], 0);
    EXPECT_LE(plan.offsets[i] + buffers[i].bytes, plan.arena_bytes);
    for (size_t j = 0; j < i; ++j) {
      const Lifetime &a = buffers[i], &b = buffers[j];
      const bool together = a.first <= b.last && b.first <= a.last;
      const bool apart = plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i];
      ASSERT_TRUE(!together || apart || a.bytes == 0 || b.bytes == 0) << "buffers " << i << " and " << j << " overlap";
    }
  }
  for (int step = 0; step <= last; ++step) {
    int64_t live = 0;
    for (const Lifetime& b : buffers)
      if (b.first <= step && step <= b.last) live += (b.bytes + align - 1) / align * align;
    most = std::max(most, live);
  }
  EXPECT_EQ(plan.lower_bound_bytes, most);
}

TEST(Plan, RandomLifetimesNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const int count = 1 + static_cast<int>(random() % 60), steps = 1 + static_cast<int>(random() % 40);
    std::vector<Lifetime> buffers;
    for (int i = 0; i < count; ++i) {
      const int first = static_cast<int>(random() % static_cast<unsigned>(steps));
      const int last = first + static_cast<int>(random() % (round % 2 ? 4u : static_cast<unsigned>(steps)));
      buffers.push_back(
          {first, last, random() % 8 == 0 ? 0 : static_cast<int64_t>(random() % (1u << (random() % 20 + 1)))});
    }
    expect_valid(buffers, int64_t{1} << (random() % 13));
    if (HasFatalFailure()) return;
  }
}

// A step's result, read by the steps behind it, and its workspace; the last result is read at the end.
std::vector<Lifetime> buffers_of(const std::vector<ScheduledStep>& steps, std::mt19937& random) {
  const int count = static_cast<int>(steps.size());
  std::vector<Lifetime> buffers;
  for (int i = 0; i < count; ++i) {
    buffers.push_back({i, i, 64 * static_cast<int64_t>(1 + random() % 8), {i}});
    buffers.push_back({i, i, 64 * static_cast<int64_t>(random() % 4), {i}});
    for (int d : steps[static_cast<size_t>(i)].after) {
      Lifetime& read = buffers[2 * static_cast<size_t>(d)];
      read.last = i;
      read.uses.push_back(i);
    }
  }
  Lifetime& output = buffers[buffers.size() - 2];
  output.last = count;
  output.uses.push_back(count);
  return buffers;
}

// One of the ways in which steps may run at once: each writes as it begins, and reads what it reads as it ends.
class AnyOrder {
 public:
  AnyOrder(const Schedule& schedule, const std::vector<Lifetime>& buffers, const MemoryPlan& plan)
      : schedule_(schedule), buffers_(buffers), plan_(plan), owner_(static_cast<size_t>(plan.arena_bytes / 64), -1) {}

  void run(std::mt19937& random) {
    const int steps = static_cast<int>(schedule_.stream.size());
    std::vector<bool> ended(schedule_.stream.size(), false);
    std::vector<int> running(static_cast<size_t>(schedule_.streams), -1);
    for (int left = steps; left > 0;) {
      const auto s = random() % running.size();
      if (running[s] >= 0) {
        check(running[s]);
        ended[static_cast<size_t>(running[s])] = true;
        running[s] = -1;
        --left;
        continue;
      }
      for (int i = 0; i < steps; ++i) {
        const auto step = static_cast<size_t>(i);
        if (schedule_.stream[step] != static_cast<int>(s) || ended[step]) continue;
        const bool may =
            std::ranges::all_of(schedule_.waits[step], [&](int w) { return ended[static_cast<size_t>(w)]; });
        if (may) write(running[s] = i);
        break;
      }
    }
    check(steps);
  }

 private:
  std::span<int> memory(size_t b) {
    return std::span(owner_).subspan(static_cast<size_t>(plan_.offsets[b] / 64),
                                     static_cast<size_t>(buffers_[b].bytes / 64));
  }
  void write(int step) {
    for (size_t b = 0; b < buffers_.size(); ++b)
      if (buffers_[b].first == step) std::ranges::fill(memory(b), static_cast<int>(b));
  }
  void check(int step) {
    for (size_t b = 0; b < buffers_.size(); ++b) {
      if (std::ranges::find(buffers_[b].uses, step) == buffers_[b].uses.end()) continue;
      for (int owner : memory(b)) ASSERT_EQ(owner, static_cast<int>(b)) << "read by step " << step;
    }
  }

  const Schedule& schedule_;
  const std::vector<Lifetime>& buffers_;
  const MemoryPlan& plan_;
  std::vector<int> owner_;  // of 64 bytes each
};

TEST(Plan, StepsThatRunAtOnceDoNotDisturbEachOther) {
  std::mt19937 random(5);
  int64_t shared = 0;
  for (int round = 0; round < 300; ++round) {
    const auto steps = testing::random_steps(random);
    const auto buffers = buffers_of(steps, random);
    const Schedule schedule = schedule_streams(steps, 1 + round % 4);
    const MemoryPlan plan = plan_memory(buffers, 64, &schedule);
    EXPECT_GE(plan.arena_bytes, plan.lower_bound_bytes);
    shared += plan.without_reuse_bytes - plan.arena_bytes;
    for (int order = 0; order < 20; ++order) {
      AnyOrder(schedule, buffers, plan).run(random);
      if (HasFatalFailure()) FAIL() << "round " << round;
    }
  }
  EXPECT_GT(shared, 0);
}

TEST(Plan, OneStreamIsThePlanOfTheOrder) {
  std::mt19937 random(6);
  for (int round = 0; round < 50; ++round) {
    const auto steps = testing::random_steps(random);
    const auto buffers = buffers_of(steps, random);
    const Schedule schedule = schedule_streams(steps, 1);
    EXPECT_EQ(plan_memory(buffers, 64, &schedule).offsets, plan_memory(buffers).offsets);
  }
}

TEST(Plan, AChainNeedsTwoBuffers) {
  std::vector<Lifetime> chain;
  for (int i = 0; i < 50; ++i) chain.push_back({i, i + 1, 1000});
  const MemoryPlan plan = plan_memory(chain);
  EXPECT_EQ(plan.arena_bytes, 2 * 1024);
  EXPECT_EQ(plan.lower_bound_bytes, 2 * 1024);
  EXPECT_EQ(plan.without_reuse_bytes, 50 * 1024);
}

TEST(Plan, NothingNeedsNothing) {
  EXPECT_EQ(plan_memory({}).arena_bytes, 0);
  const Lifetime empty[] = {{0, 3, 0}, {1, 1, 0}};
  EXPECT_EQ(plan_memory(empty).arena_bytes, 0);
  EXPECT_EQ(plan_memory(empty).offsets.size(), 2u);
}

TEST(Plan, HugeSizesDoNotOverflow) {
  const Lifetime huge[] = {{0, 1, int64_t{1} << 60}, {1, 2, int64_t{1} << 60}, {2, 3, int64_t{1} << 60}};
  EXPECT_EQ(plan_memory(huge).arena_bytes, int64_t{2} << 60);
}

}  // namespace
}  // namespace hone
