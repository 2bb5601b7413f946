#include "base/once.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace hone {
namespace {

TEST(Once, IsComputedOnceForAllThreads) {
  Once<int, std::string> once;
  std::atomic<int> computed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int key = 0; key < 50; ++key)
        EXPECT_EQ(once.get(key,
                           [&] {
                             ++computed;
                             return std::to_string(key);
                           }),
                  std::to_string(key));
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(computed, 50);
}

TEST(Once, WhatIsThrownIsNotKept) {
  Once<int, int> once;
  EXPECT_THROW(once.get(1, []() -> int { throw std::runtime_error("no memory"); }), std::runtime_error);
  EXPECT_EQ(once.get(1, [] { return 7; }), 7);
  EXPECT_EQ(once.get(1, [] { return 8; }), 7);
}

}  // namespace
}  // namespace hone
