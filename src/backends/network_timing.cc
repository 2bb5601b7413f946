#include "backends/network_timing.h"

#include <algorithm>
#include <chrono>

#include "backends/random_tensor.h"
#include "runtime/context.h"

namespace hone {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMost = 50, kLeast = 3;
constexpr double kSeconds = 0.5;

}  // namespace

Result<double> time_network_us(const EngineData& engine) {
  HONE_TRY(auto loaded, LoadedEngine::make(engine));
  ExecutionContext context(loaded);
  for (const Binding& b : loaded->program().inputs) {
    if (!b.type.shape.concrete()) return unsupported("the dims of '{}' are open", b.name);
    HONE_CHECK(context.bind_input(b.name, random_tensor(b.type)));
  }
  const bool on_gpu = loaded->device_weights() != nullptr;
  context.times_device = on_gpu;
  for (int i = 0; i < 2; ++i) HONE_CHECK(context.run());
  std::vector<double> times;
  const auto start = Clock::now();
  const auto us_since = [](Clock::time_point t) {
    return std::chrono::duration<double, std::micro>(Clock::now() - t).count();
  };
  while (times.size() < kLeast || (times.size() < kMost && us_since(start) < kSeconds * 1e6)) {
    const auto one = Clock::now();
    HONE_CHECK(context.run());
    times.push_back(on_gpu ? context.device_us() : us_since(one));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace hone
