#include "calibrate/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "calibrate/statistics.h"

namespace hone::calibrate {
namespace {

std::vector<float> normal(size_t n, float scale, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> values(n);
  for (float& v : values) v = distribution(random);
  return values;
}

float largest(std::span<const float> values) {
  float m = 0;
  for (float v : values) m = std::max(m, std::fabs(v));
  return m;
}

Histogram in_batches(std::span<const float> values, size_t batch) {
  Histogram h;
  for (; !values.empty(); values = values.subspan(std::min(batch, values.size()))) {
    const auto head = values.first(std::min(batch, values.size()));
    h.add(head, largest(head));
  }
  return h;
}

TEST(Histogram, DoesNotDependOnOrderOrBatches) {
  auto values = normal(10000, 1, 1);
  for (size_t i = 0; i < values.size(); ++i) values[i] *= std::exp2(static_cast<float>(i % 40) - 20);
  const Histogram whole = in_batches(values, values.size());
  for (uint64_t seed : {1, 2, 3}) {
    std::shuffle(values.begin(), values.end(), std::mt19937_64(seed));
    for (size_t batch : {1, 7, 1000}) EXPECT_EQ(in_batches(values, batch), whole) << batch;
  }
}

TEST(Histogram, MergesExactly) {
  const auto small = normal(1000, 1e-3f, 1), large = normal(1000, 50, 2);
  auto both = small;
  both.insert(both.end(), large.begin(), large.end());
  const Histogram expected = in_batches(both, both.size());
  Histogram a = in_batches(small, 100), b = in_batches(large, 100);
  Histogram ab = a, ba = b;
  ab.merge(b);
  ba.merge(a);
  EXPECT_EQ(ab, expected);
  EXPECT_EQ(ba, expected);
}

TEST(Histogram, CountsWhereValuesFall) {
  const std::vector<float> values{0, -0.f, 0.25f, -0.25f, 1, 2047, -2047.5f};
  const Histogram h = in_batches(values, 2);
  EXPECT_EQ(h.width(), 1);
  EXPECT_EQ(h.count(0), 4u);
  EXPECT_EQ(h.zeros(), 2u);
  EXPECT_EQ(h.count(1), 1u);
  EXPECT_EQ(h.count(2047), 2u);
  EXPECT_EQ(h.largest(), 2047.5);
  EXPECT_EQ(h.last(), 2047);
}

TEST(Histogram, TakesExtremeMagnitudes) {
  for (float m : {1e-45f, 1e-38f, 1.f, 2048.f, 3.4028235e38f}) {
    const std::vector<float> values{0, m / 2, m};
    const Histogram h = in_batches(values, 1);
    EXPECT_EQ(h.total(), 3u);
    EXPECT_EQ(h.largest(), m);
    EXPECT_LT(h.last() * h.width(), static_cast<double>(m) + h.width());
    uint64_t sum = 0;
    for (int bin = 0; bin < Histogram::kBins; ++bin) sum += h.count(bin);
    EXPECT_EQ(sum, 3u);
  }
}

// [2, channels, 5] with channels in the middle, and the same with channels last.
TEST(Statistics, OfEveryChannelInEveryLayout) {
  for (int64_t channels : {1, 3, 16, 37}) {
    const int64_t outer = 2, inner = 45;
    const auto values = normal(static_cast<size_t>(outer * channels * inner), 3, 5);
    const Tensor first = Tensor::of<float>(DType::f32, {outer, channels, inner}, values);
    Tensor last(DType::f32, {outer, inner, channels});
    ChannelStatistics want(static_cast<size_t>(channels), outer * inner);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < inner; ++i) {
          const float v = values[static_cast<size_t>((o * channels + c) * inner + i)];
          last.mutable_data<float>()[(o * inner + i) * channels + c] = v;
          const auto k = static_cast<size_t>(c);
          want.low[k] = std::min(want.low[k], v);
          want.high[k] = std::max(want.high[k], v);
          want.sum[k] += static_cast<double>(v);
        }
    for (const auto& [tensor, axis] : {std::pair(first, 1), std::pair(last, 2)}) {
      Statistics s;
      for (int run = 0; run < 2; ++run) s.observe(tensor, axis);
      ASSERT_EQ(s.channels.low.size(), static_cast<size_t>(channels));
      EXPECT_EQ(s.channels.low, want.low);
      EXPECT_EQ(s.channels.high, want.high);
      EXPECT_EQ(s.channels.count, 2 * outer * inner);
      for (size_t c = 0; c < want.sum.size(); ++c) EXPECT_NEAR(s.channels.sum[c], 2 * want.sum[c], 1e-3);
      EXPECT_EQ(s.low, *std::min_element(values.begin(), values.end()));
      EXPECT_EQ(s.high, *std::max_element(values.begin(), values.end()));
      EXPECT_NEAR(s.deviation(), 3, 0.5);
      EXPECT_EQ(s.magnitudes.total(), 2 * values.size());
    }
  }
}

TEST(Statistics, ValuesThatAreNotFiniteAreCountedAndLeftOut) {
  for (size_t at : {0, 3, 70, 99}) {
    auto values = normal(100, 1, 3);
    Statistics s;
    s.observe(Tensor::of<float>(DType::f32, {100}, values), -1);
    const Histogram before = s.magnitudes;
    values[at] = NAN;
    values[(at + 1) % 100] = -INFINITY;
    s.observe(Tensor::of<float>(DType::f32, {100}, values), -1);
    EXPECT_EQ(s.nans, 1) << at;
    EXPECT_EQ(s.infinities, 1) << at;
    EXPECT_EQ(s.magnitudes, before);
    EXPECT_TRUE(std::isfinite(s.low) && std::isfinite(s.high) && std::isfinite(s.sum));
  }
}

// Large enough to be seen in parts, one of which may hold what is not finite.
TEST(Statistics, DoNotDependOnThreads) {
  auto values = normal(40 * 7 * 1024, 2, 9);
  Statistics alone, shared;
  cpu::ThreadPool three(3);
  for (const bool odd : {false, true}) {
    if (odd) values[5 * 7 * 1024] = NAN;
    const Tensor x = Tensor::of<float>(DType::f32, {40, 1024, 7}, values);
    for (const int64_t axis : {-1, 2}) {
      alone.observe(x, axis);
      EXPECT_EQ(shared.observe(x, axis, three).nans, odd ? 1 : 0);
      EXPECT_EQ(alone.magnitudes, shared.magnitudes);
      EXPECT_EQ(alone.magnitudes.total() % values.size(), 0u);
      EXPECT_EQ(std::pair(alone.sum, alone.sum_of_squares), std::pair(shared.sum, shared.sum_of_squares));
      EXPECT_EQ(alone.channels.sum, shared.channels.sum);
      EXPECT_EQ(std::pair(alone.runs, alone.nans), std::pair(shared.runs, shared.nans));
    }
  }
}

TEST(Statistics, OtherFloatTypesAndEmptyTensors) {
  Tensor half(DType::f16, {2});
  half.set(0, -1.5);
  half.set(1, 4);
  Statistics s;
  s.observe(Tensor(DType::f32, {0, 4}), 1);
  EXPECT_TRUE(s.empty());
  s.observe(half, -1);
  EXPECT_EQ(s.low, -1.5f);
  EXPECT_EQ(s.high, 4.f);
}

}  // namespace
}  // namespace hone::calibrate
