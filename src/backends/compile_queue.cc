#include "backends/compile_queue.h"

#include "base/cpu_info.h"

namespace hone {

CompileQueue::~CompileQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

std::future<Result<Prepared>> CompileQueue::add(const Tactic& tactic, const Problem& problem, int variant,
                                                const Machine& machine) {
  Task task([&tactic, problem, variant, machine] { return tactic.prepare(problem, variant, machine); });
  auto prepared = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (static_cast<int>(workers_.size()) < cpu::usable_cpu_count()) workers_.emplace_back([this] { work(); });
  }
  wake_.notify_one();
  return prepared;
}

void CompileQueue::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return stopped_ || !tasks_.empty(); });
    if (stopped_) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }
}

}  // namespace hone
