#include "plan/memory.h"

#include <gtest/gtest.h>

#include <random>

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
