// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// A fork-join pool for kernels: the caller works too, idle workers spin briefly and then sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace hone::cpu {

class ThreadPool {
 public:
  // 0 takes as many threads as the affinity mask and the cgroup quota allow. Throws std::system_error when the system
  // refuses one.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Calls f(task, worker) once for each task in [0, tasks); 0 <= worker < size(), the caller is 0.
  // Worker w starts with the w-th contiguous share, so equal splits put equal rows on equal threads;
  // who runs out helps the others. Two calls of f with one worker number never overlap.
  // A call from inside a task, or while another thread uses the pool, runs inline. f must not throw.
  template <class F>
  void parallel(int64_t tasks, F&& f) {
    using Body = std::remove_reference_t<F>;
    run(tasks, [](void* body, int64_t task, int worker) { (*static_cast<Body*>(body))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

 private:
  using Call = void (*)(void* body, int64_t task, int worker);

  // One worker's share; `left` decides who may take, the owner from the front, thieves from the end.
  struct alignas(64) Share {
    std::atomic<int64_t> left{0};
    std::atomic<int64_t> end{0};
    int64_t begin = 0;
  };

  void run(int64_t tasks, Call call, void* body);
  void run_shared(int64_t tasks, Call call, void* body);
  void take_part(int worker);
  void worker_loop(int worker);
  void stop();
  bool join(uint64_t& seen);
  bool wait_for_work(uint64_t seen);

  int size_ = 1;
  std::unique_ptr<Share[]> shares_;
  std::vector<std::thread> workers_;

  Call call_ = nullptr;
  void* body_ = nullptr;
  std::atomic<bool> busy_{false};
  std::atomic<bool> stop_{false};

  // Bit 0: open for joining; bits 1..15: workers inside; the rest: generation. Late workers find
  // a closed job and stay out, so the caller never waits for a thread that is still asleep.
  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
};

// A pool of one thread, for what runs beside other threads: it has no state, so that any number may use it at once.
ThreadPool& one_thread();

}  // namespace hone::cpu
