#include "calibrate/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "calibrate/reduce.h"

namespace hone::calibrate {
namespace {

constexpr size_t kLanes = 4;        // neighbours often fall into one bin: lanes keep their increments apart
constexpr size_t kBlock = 1024;     // values whose bins are found at a time
constexpr size_t kMost = 1u << 30;  // values after which a lane's counts might overflow
using Lanes = std::array<std::array<uint32_t, Histogram::kBins>, kLanes>;

uint64_t count_into(Lanes& lanes, std::span<const float> values, float scale) {
  std::array<int32_t, kBlock> bins;
  int64_t zeros = 0;
  for (; !values.empty(); values = values.subspan(std::min(kBlock, values.size()))) {
    const size_t n = std::min(kBlock, values.size());
    zeros += bins_of(values.data(), static_cast<int64_t>(n), scale, bins.data());
    const auto at = [&](size_t i) { return static_cast<size_t>(bins[i]); };
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      ++lanes[0][at(i)];
      ++lanes[1][at(i + 1)];
      ++lanes[2][at(i + 2)];
      ++lanes[3][at(i + 3)];
    }
    for (; i < n; ++i) ++lanes[0][at(i)];
  }
  return static_cast<uint64_t>(zeros);
}

}  // namespace

Histogram::Histogram(int exponent, float largest, uint64_t zeros, std::vector<uint64_t> counts)
    : exponent_(exponent),
      largest_(largest),
      total_(std::accumulate(counts.begin(), counts.end(), uint64_t{0})),
      zeros_(zeros),
      counts_(std::move(counts)) {}

void Histogram::grow(float largest) {
  largest_ = std::max(largest_, largest);
  int exponent = exponent_;
  while (std::ldexp(static_cast<double>(largest_), -exponent) >= kBins) ++exponent;
  const int shift = exponent - exponent_;
  exponent_ = exponent;
  if (shift == 0 || total_ == 0) return;
  for (int bin = 1; bin < kBins; ++bin) {
    const uint64_t moved = std::exchange(counts_[static_cast<size_t>(bin)], 0);
    counts_[static_cast<size_t>(shift < 32 ? bin >> shift : 0)] += moved;
  }
}

void Histogram::add(std::span<const float> values, float largest) {
  grow(largest);
  total_ += values.size();
  const auto scale = static_cast<float>(std::ldexp(1.0, -exponent_));
  for (; !values.empty(); values = values.subspan(std::min(kMost, values.size()))) {
    Lanes lanes{};
    zeros_ += count_into(lanes, values.first(std::min(kMost, values.size())), scale);
    for (size_t bin = 0; bin < kBins; ++bin)
      for (const auto& lane : lanes) counts_[bin] += lane[bin];
  }
}

void Histogram::merge(const Histogram& other) {
  grow(other.largest_);
  const int shift = exponent_ - other.exponent_;
  for (int bin = 0; bin < kBins; ++bin)
    counts_[static_cast<size_t>(shift < 32 ? bin >> shift : 0)] += other.counts_[static_cast<size_t>(bin)];
  total_ += other.total_;
  zeros_ += other.zeros_;
}

double Histogram::width() const { return std::ldexp(1.0, exponent_); }

// The largest magnitude lies in it.
int Histogram::last() const {
  return total_ == 0 ? -1 : static_cast<int>(std::ldexp(static_cast<double>(largest_), -exponent_));
}

}  // namespace hone::calibrate
