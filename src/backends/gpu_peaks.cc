#include <algorithm>

#include "backends/peaks.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"

namespace hone {
namespace {

constexpr int kThreads = 512, kBlocksAMultiprocessor = 4, kChains = 8, kRounds = 4096, kTries = 5;

// Both leave something that depends on all they did, so that nothing is optimised away.
constexpr const char* kSource = R"cuda(
extern "C" __global__ void multiply_add(float* data, int rounds) {
  const float factor = data[0], summand = data[1];
  float chains[8];
  for (int c = 0; c < 8; ++c) chains[c] = threadIdx.x + c;
  for (int i = 0; i < rounds; ++i)
#pragma unroll
    for (int c = 0; c < 8; ++c) chains[c] = chains[c] * factor + summand;
  float sum = 0;
  for (int c = 0; c < 8; ++c) sum += chains[c];
  if (sum == data[2]) data[3] = sum;
}

extern "C" __global__ void copy(float4* x, float4* y, long long n, int repeats) {
  const long long first = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
  for (int r = 0; r < repeats; ++r) {
    for (long long i = first; i < n; i += step) y[i] = x[i];
    float4* swap = x;
    x = y;
    y = swap;
  }
}
)cuda";

struct Bench {
  std::unique_ptr<cuda::Stream> stream;
  std::shared_ptr<const cuda::Module> module;
  unsigned blocks = 0;

  // The best of several launches, in seconds.
  Result<double> seconds(const char* name, std::span<void*> parameters) const {
    HONE_TRY(cuda::CUfunc* const function, module->function(name, 0));
    HONE_TRY(auto start, cuda::Event::create());
    HONE_TRY(auto end, cuda::Event::create());
    double best = 1e18;
    for (int i = 0; i < kTries; ++i) {
      HONE_CHECK(start->record(*stream));
      HONE_CHECK(stream->launch(function, {.grid = {blocks}, .block = {kThreads}}, parameters));
      HONE_CHECK(end->record(*stream));
      HONE_CHECK(stream->synchronize());
      HONE_TRY(const double us, end->since(*start));
      best = std::min(best, us * 1e-6);
    }
    return best;
  }
};

Result<double> operations_per_s(const Bench& bench) {
  const float values[] = {0.5f, 0.5f, -1, 0};
  HONE_TRY(auto data, cuda::allocate(sizeof values));
  HONE_CHECK(bench.stream->copy_to_device(data.get(), values, sizeof values));
  void* pointer = data.get();
  int rounds = kRounds;
  void* parameters[] = {&pointer, &rounds};
  HONE_TRY(const double seconds, bench.seconds("multiply_add", parameters));
  return 2.0 * kChains * kRounds * kThreads * bench.blocks / seconds;
}

Result<Bandwidth> bandwidth(const Bench& bench, std::byte* memory, int64_t bytes, int repeats) {
  void *x = memory, *y = memory + bytes / 2;
  long long n = bytes / 2 / 16;
  void* parameters[] = {&x, &y, &n, &repeats};
  HONE_TRY(const double seconds, bench.seconds("copy", parameters));
  return Bandwidth{bytes, static_cast<double>(bytes) * repeats / seconds};
}

Result<Peaks> measure(const cuda::Device& device) {
  HONE_CHECK(cuda::make_current(device.ordinal));
  Bench bench{.blocks = static_cast<unsigned>(device.multiprocessors * kBlocksAMultiprocessor)};
  HONE_TRY(bench.stream, cuda::Stream::create());
  HONE_TRY(const Tensor code, gpu_peaks_code(device.arch()));
  HONE_TRY(bench.module, cuda::Module::load(code));
  const int64_t large = int64_t{512} << 20, small = int64_t{8} << 20;  // memory, and well within the second cache
  HONE_TRY(auto memory, cuda::allocate(large));
  Peaks peaks;
  HONE_TRY(peaks.rates["fp32"], operations_per_s(bench));
  for (const auto& [bytes, repeats] : {std::pair(small, 64), std::pair(large, 4)}) {
    HONE_TRY(const Bandwidth reached, bandwidth(bench, memory.get(), bytes, repeats));
    peaks.bandwidths.push_back(reached);
  }
  return peaks;
}

std::string key_of(const cuda::Device& device) { return fmt::format("cuda {} '{}'", device.arch(), device.name); }

std::optional<Peaks> known_peaks(const cuda::Device& device, const TacticCache& cache) {
  auto known = cache.peaks(key_of(device));
  return known && known->known() ? known : std::nullopt;
}

}  // namespace

Result<Tensor> gpu_peaks_code(const std::string& arch) { return cuda::compile(kSource, arch); }

std::future<void> expect_gpu_peaks(const Machine& machine, const TacticCache& cache) {
  const auto device = cuda::device(machine.cuda_device);
  if (!device.ok() || known_peaks(*device, cache)) return {};
  try {
    return std::async(std::launch::async, [arch = device->arch()] { (void)gpu_peaks_code(arch); });
  } catch (const std::system_error&) {  // no more threads to be had
    return {};
  }
}

Result<Peaks> gpu_peaks(const Machine& machine, TacticCache& cache) {
  HONE_TRY(const cuda::Device device, cuda::device(machine.cuda_device));
  if (auto known = known_peaks(device, cache)) return *known;
  HONE_TRY(Peaks peaks, measure(device));
  cache.put_peaks(key_of(device), peaks);
  return peaks;
}

}  // namespace hone
