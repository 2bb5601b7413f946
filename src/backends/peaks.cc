#include "backends/peaks.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/cpu_info.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/cpu/bf16/kernel.h"
#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/peak/peak.h"

namespace hone {
namespace {

constexpr double kSeconds = 0.02;         // of each measurement
constexpr int64_t kRounds = 20000;        // of multiply-adds: some 100 us
constexpr int64_t kBytesATask = 1 << 20;  // what a task touches at least, so that starting it does not count
constexpr int64_t kAlign = 512;
constexpr int64_t kTileBytes = 192 << 10;  // of a tile, so deep that its sums do not count
constexpr int64_t kTiles = 100;            // of a pass: some 100 us
// Of operands: 0.75 in bf16, where denormals would cost time; 1, or 257 where i8 is widened, so that no sum overflows.
constexpr int kBf16Byte = 0x3f, kInt8Byte = 1;

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

// Of all threads, each of which does `operations` by work(its number).
template <class F>
double rate_of(cpu::ThreadPool& pool, double operations, const F& work) {
  return best_rate(operations * pool.size(),
                   [&] { pool.parallel(pool.size(), [&](int64_t task, int) { work(task); }); });
}

double fp32_rate(cpu::Tier tier, cpu::ThreadPool& pool) {
  const cpu::PeakKernel& kernel = cpu::peak_kernel(tier);
  return rate_of(pool, static_cast<double>(kRounds * kernel.operations), [&](int64_t) {
    float data[2] = {0.5f, 0.5f};
    kernel.multiply_add(kRounds, data);
  });
}

// The rate of an inner kernel's largest tile on operands that stay in the second cache, by run(plan, rows, panel,
// sums).
template <class F>
double tile_rate(const cpu::TileForm& form, int operand_byte, cpu::ThreadPool& pool, const F& run) {
  const int64_t values = kTileBytes / (form.panel * form.b_bytes + form.rows * form.a_bytes);
  const int64_t depth = values / form.k_step * form.k_step;
  const cpu::GatherPlan plan = cpu::packed_plan({.w = form.rows, .cin = depth, .cout = form.panel}, form);
  const int64_t rows = plan.form.rows, columns = plan.form.panel, rows_bytes = rows * plan.a_ld;
  Tensors memory;
  for (int t = 0; t < pool.size(); ++t) {
    memory.emplace_back(DType::u8, Dims{rows_bytes + plan.panel_bytes + rows * columns * 4});
    std::memset(memory.back().mutable_raw(), operand_byte, static_cast<size_t>(memory.back().bytes()));
  }
  return rate_of(pool, static_cast<double>(kTiles * 2 * rows * columns * depth), [&](int64_t task) {
    auto* a = memory[static_cast<size_t>(task)].mutable_data<std::byte>();
    std::byte* const b = a + rows_bytes;
    if (form.begin != nullptr) form.begin();
    for (int64_t i = 0; i < kTiles; ++i) run(plan, a, b, b + plan.panel_bytes);
    if (form.end != nullptr) form.end();
  });
}

double int8_rate(cpu::Tier tier, cpu::ThreadPool& pool) {
  const cpu::Int8Kernel& kernel = cpu::int8_kernel(cpu::best_int8_set(tier), true);
  return tile_rate(kernel.form, kInt8Byte, pool,
                   [&](const cpu::GatherPlan& plan, std::byte* rows, std::byte* panel, std::byte* sums) {
                     const auto* start = reinterpret_cast<const int32_t*>(panel);
                     kernel.run({.a = {.first = rows, .ld = plan.a_ld},
                                 .rows = plan.form.rows,
                                 .steps = plan.steps(),
                                 .start = start,
                                 .b = reinterpret_cast<const int8_t*>(start + plan.form.panel),
                                 .panel = plan.form.panel,
                                 .columns = plan.form.panel,
                                 .sums = reinterpret_cast<int32_t*>(sums)});
                   });
}

// 0 where the CPU has no instructions for it.
double bf16_rate(cpu::Tier tier, cpu::ThreadPool& pool) {
  const auto set = cpu::best_bf16_set();
  if (tier < cpu::Tier::avx512 || !set) return 0;
  const cpu::Bf16Kernel& kernel = cpu::bf16_kernel(*set);
  const cpu::Epilogue none;
  return tile_rate(kernel.from_bf16, kBf16Byte, pool,
                   [&](const cpu::GatherPlan& plan, std::byte* rows, std::byte* panel, std::byte* sums) {
                     kernel.to_f32({.a = {.first = rows, .ld = plan.a_ld},
                                    .rows = plan.form.rows,
                                    .steps = plan.steps(),
                                    .b = reinterpret_cast<const uint16_t*>(panel),
                                    .columns = plan.form.panel,
                                    .sums = reinterpret_cast<float*>(sums),
                                    .out = sums,
                                    .ld = plan.form.panel,
                                    .epilogue = &none});
                   });
}

// What is measured, by precision.
struct RateRow {
  const char* precision;
  double (*measure)(cpu::Tier tier, cpu::ThreadPool& pool);
};
constexpr RateRow kRates[] = {{"fp32", fp32_rate}, {"int8", int8_rate}, {"bf16", bf16_rate}};

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
  Peaks peaks;
  for (const RateRow& row : kRates)
    if (const double rate = row.measure(tier, pool); rate > 0) peaks.rates[row.precision] = rate;
  for (int64_t bytes : {int64_t{32} << 10, int64_t{256} << 10, int64_t{2} << 20, int64_t{16} << 20, largest})
    peaks.bandwidths.push_back(bandwidth(kernel, pool, memory.mutable_data<std::byte>(), bytes));
  return peaks;
}

}  // namespace

Peaks cpu_peaks(const Machine& machine, TacticCache& cache) {
  const std::string device =
      fmt::format("cpu '{}' tier {} threads {}", cpu::cpu_info().model,
                  std::min(machine.max_tier, static_cast<int>(cpu::best_tier())), machine.threads);
  if (const auto known = cache.peaks(device); known && known->known()) return *known;
  Peaks peaks = measure(machine);
  cache.put_peaks(device, peaks);
  return peaks;
}

}  // namespace hone
