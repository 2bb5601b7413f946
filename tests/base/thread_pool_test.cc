#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace hone::cpu {
namespace {

TEST(ThreadPool, EveryTaskRunsOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (int64_t tasks : {0, 1, 2, 7, 8, 100}) {
      std::vector<int> ran(static_cast<size_t>(tasks));
      for (int round = 0; round < 50; ++round)
        pool.parallel(tasks, [&](int64_t task, int) { ++ran[static_cast<size_t>(task)]; });
      EXPECT_EQ(ran, std::vector<int>(static_cast<size_t>(tasks), 50)) << threads << " threads";
    }
  }
}

// Scratch that belongs to a worker needs no lock.
TEST(ThreadPool, AWorkerDoesOneTaskAtATime) {
  ThreadPool pool(4);
  std::vector<int64_t> sums(4);
  for (int round = 0; round < 200; ++round)
    pool.parallel(64, [&](int64_t task, int worker) { sums[static_cast<size_t>(worker)] += task; });
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), int64_t{0}), 200 * 64 * 63 / 2);
}

TEST(ThreadPool, ATaskMayUseThePool) {
  ThreadPool pool(3);
  std::atomic<int> ran{0};
  pool.parallel(6, [&](int64_t, int outer) { pool.parallel(5, [&](int64_t, int inner) { ran += inner == outer; }); });
  EXPECT_EQ(ran, 30);
}

TEST(ThreadPool, CallersMayShareAPool) {
  ThreadPool pool(3);
  std::atomic<int64_t> ran{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) pool.parallel(9, [&](int64_t, int) { ++ran; });
    });
  for (auto& c : callers) c.join();
  EXPECT_EQ(ran, 4 * 100 * 9);
}

// Workers are asleep by then, or were never awake.
TEST(ThreadPool, PoolsComeAndGo) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(4);
    int ran = 0;
    if (i % 2 == 0) pool.parallel(1, [&](int64_t, int) { ++ran; });
    EXPECT_EQ(ran, i % 2 == 0);
  }
}

}  // namespace
}  // namespace hone::cpu
