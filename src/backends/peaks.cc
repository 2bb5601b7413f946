#include "backends/peaks.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/cpu_info.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/cpu/peak/peak.h"

namespace hone {
namespace {

constexpr double kSeconds = 0.02;         // of each measurement
constexpr int64_t kRounds = 20000;        // of multiply-adds: some 100 us
constexpr int64_t kBytesATask = 1 << 20;  // what a task touches at least, so that starting it does not count
constexpr int64_t kAlign = 512;

// The best of several passes that do `amount` each.
template <class F>
double best_rate(double amount, const F& pass) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  double best = 0;
  const auto begin = Clock::now();
  for (int i = 0; i < 3 || seconds(Clock::now() - begin) < kSeconds; ++i) {
    const auto start = Clock::now();
    pass();
    best = std::max(best, amount / seconds(Clock::now() - start));
  }
  return best;
}

double operations_per_s(const cpu::PeakKernel& kernel, cpu::ThreadPool& pool) {
  const int64_t tasks = pool.size();
  return best_rate(static_cast<double>(tasks * kRounds * kernel.operations), [&] {
    pool.parallel(tasks, [&](int64_t, int) {
      float data[2] = {0.5f, 0.5f};
      kernel.multiply_add(kRounds, data);
    });
  });
}

// Each task has its share of the working set, and its caches, for itself.
Bandwidth bandwidth(const cpu::PeakKernel& kernel, cpu::ThreadPool& pool, std::byte* memory, int64_t bytes) {
  const int64_t tasks = pool.size(), share = std::max(kAlign, bytes / tasks / kAlign * kAlign);
  const int64_t repeats = std::max<int64_t>(1, kBytesATask / share);
  const double touched = static_cast<double>(tasks * share * repeats);
  const auto each = [&](const auto& work) {
    return best_rate(touched, [&] {
      pool.parallel(tasks, [&](int64_t task, int) {
        for (int64_t i = 0; i < repeats; ++i) work(memory + task * share);
      });
    });
  };
  std::vector<float> sums(static_cast<size_t>(tasks));
  const double reading = each([&](std::byte* mine) {
    sums[static_cast<size_t>((mine - memory) / share)] +=
        kernel.sum(reinterpret_cast<const float*>(mine), share / static_cast<int64_t>(sizeof(float)));
  });
  const double copying = each([&](std::byte* mine) {
    const auto half = static_cast<size_t>(share / 2);
    std::memcpy(mine + half, mine, half);
  });
  return {bytes, std::max(reading, copying)};
}

Peaks measure(const Machine& machine) {
  const auto tier = static_cast<cpu::Tier>(std::min(machine.max_tier, static_cast<int>(cpu::best_tier())));
  const cpu::PeakKernel& kernel = cpu::peak_kernel(tier);
  cpu::ThreadPool pool(machine.threads);
  const int64_t largest = std::clamp<int64_t>(4 * cpu::cpu_info().l3, 64 << 20, 256 << 20);
  Tensor memory(DType::u8, {largest});
  Peaks peaks{.operations_per_s = operations_per_s(kernel, pool)};
  for (int64_t bytes : {int64_t{32} << 10, int64_t{256} << 10, int64_t{2} << 20, int64_t{16} << 20, largest})
    peaks.bandwidths.push_back(bandwidth(kernel, pool, memory.mutable_data<std::byte>(), bytes));
  return peaks;
}

}  // namespace

Peaks cpu_peaks(const Machine& machine, TacticCache& cache) {
  const std::string device =
      fmt::format("cpu '{}' tier {} threads {}", cpu::cpu_info().model,
                  std::min(machine.max_tier, static_cast<int>(cpu::best_tier())), machine.threads);
  if (const auto known = cache.peaks(device)) return *known;
  Peaks peaks = measure(machine);
  cache.put_peaks(device, peaks);
  return peaks;
}

}  // namespace hone
