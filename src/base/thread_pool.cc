// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/cpu_info.h"

namespace hone::cpu {
namespace {

constexpr uint64_t kOpen = 1;
constexpr uint64_t kOneInside = 2;
constexpr uint64_t kInsideMask = 0xfffe;
constexpr uint64_t kGeneration = 0x10000;
constexpr auto kSpin = std::chrono::microseconds(80);
constexpr int kMaxThreads = 1024;

thread_local const ThreadPool* current_pool = nullptr;
thread_local int current_worker = 0;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  size_ = std::clamp(threads > 0 ? threads : usable_cpu_count(), 1, kMaxThreads);
  shares_ = std::make_unique<Share[]>(static_cast<size_t>(size_));
  try {
    for (int w = 1; w < size_; ++w) workers_.emplace_back([this, w] { worker_loop(w); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (auto& t : workers_) t.join();
}

void ThreadPool::run(int64_t tasks, Call call, void* body) {
  const int worker = current_pool == this ? current_worker : 0;
  const bool fork = current_pool != this && size_ > 1 && tasks > 1 && !busy_.exchange(true, std::memory_order_acquire);
  const ThreadPool* outer_pool = std::exchange(current_pool, this);
  const int outer_worker = std::exchange(current_worker, worker);
  if (fork) {
    run_shared(tasks, call, body);
    busy_.store(false, std::memory_order_release);
  } else {
    for (int64_t i = 0; i < tasks; ++i) call(body, i, worker);
  }
  current_pool = outer_pool;
  current_worker = outer_worker;
}

void ThreadPool::run_shared(int64_t tasks, Call call, void* body) {
  call_ = call;
  body_ = body;
  for (int w = 0; w < size_; ++w) {
    const int64_t begin = tasks * w / size_, end = tasks * (w + 1) / size_;
    shares_[w].begin = begin;
    shares_[w].end.store(end, std::memory_order_relaxed);
    shares_[w].left.store(end - begin, std::memory_order_relaxed);
  }
  state_.fetch_add(kGeneration + kOpen);
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  take_part(0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kInsideMask) != 0; ++spins)
    spins < 20000 ? pause() : std::this_thread::yield();
}

void ThreadPool::take_part(int worker) {
  const Call call = call_;
  void* const body = body_;
  Share& own = shares_[worker];
  while (own.left.fetch_sub(1, std::memory_order_relaxed) > 0) call(body, own.begin++, worker);
  for (int i = 1; i < size_; ++i) {
    Share& other = shares_[(worker + i) % size_];
    while (other.left.load(std::memory_order_relaxed) > 0 &&
           other.left.fetch_sub(1, std::memory_order_relaxed) > 0)
      call(body, other.end.fetch_sub(1, std::memory_order_relaxed) - 1, worker);
  }
}

// Enters the job now open, at most once for each generation.
bool ThreadPool::join(uint64_t& seen) {
  uint64_t s = state_.load(std::memory_order_acquire);
  while ((s & kOpen) != 0 && s / kGeneration != seen) {
    if (state_.compare_exchange_weak(s, s + kOneInside, std::memory_order_acq_rel)) {
      seen = s / kGeneration;
      return true;
    }
  }
  return false;
}

bool ThreadPool::wait_for_work(uint64_t seen) {
  const auto fresh = [&] {
    const uint64_t s = state_.load();
    return (s & kOpen) != 0 && s / kGeneration != seen;
  };
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (fresh()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return fresh() || stop_.load(); });
  sleepers_.fetch_sub(1);
  return !stop_.load();
}

void ThreadPool::worker_loop(int worker) {
  current_pool = this;
  current_worker = worker;
  uint64_t seen = 0;
  while (wait_for_work(seen)) {
    if (!join(seen)) continue;
    take_part(worker);
    state_.fetch_sub(kOneInside, std::memory_order_acq_rel);
  }
}

ThreadPool& one_thread() {
  static ThreadPool pool(1);
  return pool;
}

}  // namespace hone::cpu
