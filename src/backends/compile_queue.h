#pragma once

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "tactics/tactic.h"

namespace hone {

// Compiles kernels on all cores, in the order in which they were asked for. What is not begun when it is destroyed is
// dropped.
class CompileQueue {
 public:
  CompileQueue() = default;
  ~CompileQueue();
  CompileQueue(const CompileQueue&) = delete;
  CompileQueue& operator=(const CompileQueue&) = delete;

  std::future<Result<Prepared>> add(const Tactic& tactic, const Problem& problem, int variant, const Machine& machine);

 private:
  using Task = std::packaged_task<Result<Prepared>()>;
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  bool stopped_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace hone
