#include "calibrate/device_state.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/prelude.cuh.h"
#include "kernels/cuda/statistics.cuh.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/source.h"

namespace hone::calibrate {
namespace {

constexpr int64_t kThreads = 512, kLanes = 32;
constexpr int64_t kTerms = 16;           // values of a channel that a thread takes at least
constexpr int64_t kMostParts = 128;      // of a channel: they are joined one after the other
constexpr int64_t kBlockValues = 16384;  // that a block counts at least: it adds its bins to those of all others
constexpr int64_t kMostCountBlocks = 512;
constexpr size_t kMomentsBytes = 24;
constexpr size_t kAlign = 256;  // of a state

// State of statistics.cuh.
struct State {
  double sum = 0, squares = 0;
  float low = std::numeric_limits<float>::infinity(), high = -std::numeric_limits<float>::infinity(), largest = 0;
  int32_t exponent = Histogram::kLowestExponent, finite = 0, unused = 0;
};
static_assert(sizeof(State) == 40 && Histogram::kBins % kThreads == 0);

constexpr size_t kCounts = Histogram::kBins + 1;  // with that of zeros

// Takes `count` values off the front.
template <class T>
std::vector<T> take(std::span<const std::byte>& from, size_t count) {
  std::vector<T> values(count);
  std::memcpy(values.data(), from.data(), count * sizeof(T));
  from = from.subspan(count * sizeof(T));
  return values;
}

template <class T>
void append(std::vector<std::byte>& to, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

DeviceLaunches device_launches(const Layout& layout) {
  const int64_t lanes = layout.inner == 1 && layout.channels > 1 ? kLanes : 1;
  const int64_t values = layout.outer * layout.inner;
  return {
      .threads = static_cast<unsigned>(kThreads),
      .lanes = static_cast<int>(lanes),
      .channel_blocks = static_cast<unsigned>(cuda::blocks(layout.channels, lanes)),
      .parts =
          static_cast<unsigned>(std::clamp<int64_t>(cuda::blocks(values, kThreads / lanes * kTerms), 1, kMostParts)),
      .count_blocks =
          static_cast<unsigned>(std::clamp<int64_t>(cuda::blocks(layout.count(), kBlockValues), 1, kMostCountBlocks))};
}

size_t parts_bytes(const Layout& layout) {
  return device_launches(layout).parts * static_cast<size_t>(layout.channels) * kMomentsBytes;
}

bool observed_on_device(DType type) { return cuda::is_held_in_float(type); }

std::string statistics_source(DType type) {
  return fmt::format("{}typedef {} T;\n#define THREADS {}\n#define LOG_BINS {}\n{}", kernels::prelude_cuh,
                     cuda::element_type(type), kThreads, Histogram::kLogBins, kernels::statistics_cuh);
}

std::vector<std::byte> empty_state(const Layout& layout) {
  const ChannelStatistics channels(static_cast<size_t>(layout.channels), 0);
  std::vector<std::byte> state;
  append(state, std::vector<State>(1));
  append(state, std::vector<uint64_t>(kCounts));
  append(state, channels.sum);
  append(state, channels.low);
  append(state, channels.high);
  state.resize((state.size() + kAlign - 1) / kAlign * kAlign);
  return state;
}

Statistics statistics_of(std::span<const std::byte> state, const Layout& layout, bool channels) {
  const State head = take<State>(state, 1)[0];
  auto counts = take<uint64_t>(state, kCounts);
  const uint64_t zeros = counts.back();
  counts.pop_back();
  counts[0] += zeros;
  Statistics s{.low = head.low,
               .high = head.high,
               .sum = head.sum,
               .sum_of_squares = head.squares,
               .magnitudes = Histogram(head.exponent, head.largest, zeros, std::move(counts))};
  if (!channels || s.empty()) return s;
  const auto count = static_cast<size_t>(layout.channels);
  s.channels.sum = take<double>(state, count);
  s.channels.low = take<float>(state, count);
  s.channels.high = take<float>(state, count);
  s.channels.count = static_cast<int64_t>(s.magnitudes.total()) / layout.channels;
  return s;
}

}  // namespace hone::calibrate
