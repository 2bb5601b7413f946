#include "tools/measure.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <numeric>
#include <thread>

#include "base/out_of_memory.h"

namespace hone::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMinRuns = 3;

Result<Tensor> on_device(DType type, const Dims& dims) {
  const int64_t bytes = element_count(dims) * static_cast<int64_t>(size_of(type));
  HONE_TRY(auto memory, cuda::allocate(bytes));
  return Tensor(type, dims, memory.get(), memory);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Stream {
  Stream(const std::shared_ptr<const LoadedEngine>& engine, Io io) : context(engine), io(io) {
    context.times_device = io == Io::device;
  }

  ExecutionContext context;
  Io io;
  std::vector<double> times_ms;
  double elapsed_s = 0;
  Status status;

  // No exception may leave a thread.
  template <class F>
  void attempt(const F& part) {
    try {
      if (status.ok()) status = part();
    } catch (const std::bad_alloc& e) {
      status = {Code::device, out_of_memory(e)};
    }
  }

  Status warm_up(const NamedTensors& inputs, double seconds) {
    if (io == Io::device) HONE_CHECK(bind_on_device(context, inputs));
    else
      for (const auto& [name, value] : inputs) HONE_CHECK(context.bind_input(name, value));
    HONE_CHECK(context.run());
    const auto start = Clock::now();
    do HONE_CHECK(context.run());
    while (seconds_since(start) < seconds);
    return {};
  }

  Status measure(double seconds) {
    const auto start = Clock::now();
    while (times_ms.size() < kMinRuns || seconds_since(start) < seconds) {
      const auto one = Clock::now();
      HONE_CHECK(context.run());
      times_ms.push_back(io == Io::device ? context.device_us() / 1e3 : seconds_since(one) * 1e3);
    }
    elapsed_s = seconds_since(start);
    return {};
  }
};

}  // namespace

Status bind_on_device(ExecutionContext& context, const NamedTensors& inputs) {
  const auto& weights = context.engine().device_weights();
  if (!weights) return unsupported("inputs on the device need an engine for a GPU");
  HONE_CHECK(cuda::make_current(weights->ordinal()));
  HONE_TRY(auto stream, cuda::Stream::create());
  for (const auto& [name, value] : inputs) {
    HONE_TRY(Tensor copy, on_device(value.type(), value.dims()));
    HONE_CHECK(stream->copy_to_device(copy.mutable_raw(), value.raw(), value.bytes()));
    HONE_CHECK(context.bind_input(name, std::move(copy)));
  }
  for (const Binding& b : context.engine().program().outputs) {
    HONE_TRY(Tensor memory, on_device(b.type.dtype, *b.type.shape.concrete()));
    HONE_CHECK(context.bind_device_output(b.name, memory));
  }
  return stream->synchronize();
}

double Measurement::mean() const {
  return std::accumulate(times_ms.begin(), times_ms.end(), 0.0) / static_cast<double>(times_ms.size());
}

double Measurement::quantile(double q) const {
  return times_ms[std::min(times_ms.size() - 1, static_cast<size_t>(q * static_cast<double>(times_ms.size())))];
}

Result<Measurement> measure(const std::shared_ptr<const LoadedEngine>& engine, const NamedTensors& inputs, int streams,
                            Io io, double warm_up_s, double duration_s) {
  std::vector<std::unique_ptr<Stream>> all(static_cast<size_t>(streams));
  for (auto& stream : all) stream = std::make_unique<Stream>(engine, io);
  std::barrier start(streams);
  std::vector<std::thread> threads;
  threads.reserve(all.size());
  for (const auto& stream : all)
    threads.emplace_back([&] {
      stream->attempt([&] { return stream->warm_up(inputs, warm_up_s); });
      start.arrive_and_wait();
      stream->attempt([&] { return stream->measure(duration_s); });
    });
  for (std::thread& thread : threads) thread.join();
  Measurement result;
  for (const auto& stream : all) {
    HONE_CHECK(stream->status);
    result.times_ms.insert(result.times_ms.end(), stream->times_ms.begin(), stream->times_ms.end());
    result.runs_per_s += static_cast<double>(stream->times_ms.size()) / stream->elapsed_s;
  }
  std::sort(result.times_ms.begin(), result.times_ms.end());
  return result;
}

}  // namespace hone::tools
