#include "backends/network_timing.h"

#include <algorithm>
#include <chrono>

#include "backends/gpu_timing.h"
#include "backends/random_tensor.h"
#include "engine/manifest.h"
#include "runtime/context.h"

namespace hone {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMost = 50, kLeast = 2;
constexpr double kSeconds = 0.4;
constexpr double kLongUs = 1e5;  // a network that is warm when it has run once

double us_since(Clock::time_point t) { return std::chrono::duration<double, std::micro>(Clock::now() - t).count(); }

double median(std::vector<double>& times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

// Ready to run on random inputs, and run before.
Result<std::unique_ptr<ExecutionContext>> warm_context(const EngineData& engine) {
  HONE_TRY(auto loaded, LoadedEngine::make(engine));
  auto context = std::make_unique<ExecutionContext>(loaded);
  std::unique_ptr<cuda::Stream> stream;
  if (loaded->all_on_gpu()) {  // then inputs and outputs are there as well
    HONE_TRY(stream, cuda::Stream::create());
    context->leave_outputs(std::vector(loaded->program().outputs.size(), true));
  }
  for (const Binding& b : loaded->program().inputs) {
    if (!b.type.shape.concrete()) return unsupported("the dims of '{}' are open", b.name);
    Tensor value;
    if (stream == nullptr) {
      value = random_tensor(b.type);
    } else {
      HONE_TRY(value, random_on_gpu(b.type, *stream));
    }
    HONE_CHECK(context->bind_input(b.name, std::move(value)));
  }
  context->times_device = loaded->device_weights() != nullptr;
  const auto start = Clock::now();
  HONE_CHECK(context->run());
  if (us_since(start) < kLongUs) HONE_CHECK(context->run());
  return context;
}

// Calls `run` until there are enough runs or they have taken long enough.
template <class Run>
Status repeat(const Run& run) {
  const auto start = Clock::now();
  for (size_t runs = 0; runs < kLeast || (runs < kMost && us_since(start) < kSeconds * 1e6); ++runs) HONE_CHECK(run());
  return {};
}

// Of all that its time depends on: the kernels and their shapes, streams and memory, not what a build tells of them.
std::string key_of(Program program) {
  program.build = {};
  for (Step& step : program.steps) {
    step.time_us = 0;
    step.refused.clear();
  }
  return cache_key(program.device, "network " + to_json(program));
}

}  // namespace

Result<double> time_network_us(const EngineData& engine) {
  HONE_TRY(const auto context, warm_context(engine));
  std::vector<double> times;
  HONE_CHECK(repeat([&]() -> Status {
    const auto start = Clock::now();
    HONE_CHECK(context->run());
    times.push_back(context->times_device ? context->device_us() : us_since(start));
    return {};
  }));
  return median(times);
}

Result<double> network_us(const EngineData& engine, TacticCache& cache) {
  if (engine.program.cuda_arch.empty()) return time_network_us(engine);
  const std::string key = key_of(engine.program);
  if (const auto known = cache.network_us(key)) return *known;
  HONE_TRY(const double us, time_network_us(engine));
  cache.put_network(key, us);
  return us;
}

Comparison compare(const EngineData& changed, const EngineData& engine, const std::string& change,
                   const TimeNetwork& time_us) {
  double without_us = 1e18, with_us = 1e18;
  for (int turn = 0; turn < 2; ++turn) {  // the machine may have grown slower in between
    for (const bool with : {false, true}) {
      const auto us = time_us(with ? changed : engine);
      if (!us.ok())
        return {.note = fmt::format("the network could not be timed {} {}: {}", with ? "with" : "without", change,
                                    us.status().message()),
                .failure = us.status()};
      double& least_us = with ? with_us : without_us;
      least_us = std::min(least_us, *us);
    }
  }
  const bool faster = with_us < without_us;
  return {.faster = faster,
          .note = fmt::format("the network takes {:.3f} ms with {}, {:.3f} ms without: they {}", with_us / 1000, change,
                              without_us / 1000, faster ? "are" : "are not"),
          .failure = {}};
}

Result<std::vector<double>> time_steps_us(const EngineData& engine) {
  HONE_TRY(const auto context, warm_context(engine));
  std::vector<std::vector<double>> times(engine.program.steps.size());
  context->profiler = [&](size_t step, double us) { times[step].back() += us; };
  HONE_CHECK(repeat([&] {
    for (auto& of_step : times) of_step.push_back(0);
    return context->run();
  }));
  std::vector<double> medians;
  medians.reserve(times.size());
  const Program& program = engine.program;
  for (size_t i = 0; i < times.size(); ++i)  // what runs beside others takes its share of the time
    medians.push_back(median(times[i]) / program.beside(program.steps[i]));
  return medians;
}

}  // namespace hone
