// The text of the GPU's kernels for statistics, run on the CPU: what they leave is what Statistics::observe finds.
#include "calibrate/device_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "calibrate/cuda_emulation.h"
#include "calibrate/same_statistics.h"

namespace hone::calibrate {
namespace {

namespace emulated {

using namespace hone::testing;
using std::fabs, std::fmax, std::fmin, std::ilogb, std::isfinite, std::isinf, std::isnan, std::ldexp, std::max;
typedef long long i64;
typedef unsigned long long u64;
typedef float T;
constexpr float INF = std::numeric_limits<float>::infinity();

#define THREADS 64
#define LOG_BINS 11
#define __device__
#define __global__
#define __launch_bounds__(threads)
#define __shared__ static
#include "kernels/cuda/statistics.cuh"

}  // namespace emulated

static_assert(1 << LOG_BINS == Histogram::kBins);

// As DeviceStatistics does.
class Emulated {
 public:
  Emulated(const Dims& dims, int64_t axis)
      : layout_(layout_of(dims, axis)), channels_(axis >= 0), state_(empty_state(layout_)) {}

  void observe(const Tensor& values) {
    DeviceLaunches how = device_launches(layout_);
    how.lanes = std::min(how.lanes, THREADS);
    std::vector<emulated::Moments> parts(how.parts * static_cast<size_t>(layout_.channels));
    auto* const state = reinterpret_cast<emulated::State*>(state_.data());
    const float* x = values.data<float>();
    const int64_t of_channel = layout_.outer * layout_.inner;
    testing::launch({static_cast<int>(how.channel_blocks), static_cast<int>(how.parts)}, THREADS,
                    [&] { emulated::reduce(parts.data(), x, layout_.channels, layout_.inner, of_channel, how.lanes); });
    testing::launch({}, THREADS,
                    [&] { emulated::take(state, parts.data(), static_cast<int>(how.parts), layout_.channels); });
    testing::launch({static_cast<int>(how.count_blocks)}, THREADS,
                    [&] { emulated::count(state, odd_, x, values.count()); });
  }
  Statistics statistics() const { return statistics_of(state_, layout_, channels_); }
  NotFinite odd() const { return {static_cast<int64_t>(odd_[0]), static_cast<int64_t>(odd_[1])}; }

 private:
  Layout layout_;
  bool channels_;
  std::vector<std::byte> state_;
  emulated::u64 odd_[2] = {0, 0};
};

Tensor tensor(const Dims& dims, uint64_t seed, float scale) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  Tensor t(DType::f32, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.mutable_data<float>()[i] = random() % 3 == 0 ? 0 : normal(random);
  return t;
}

struct Case {
  Dims dims;
  int64_t axis;
};

TEST(DeviceState, IsWhatTheCpuObserves) {
  for (const Case& c :
       {Case{{}, -1}, Case{{1}, -1}, Case{{70001}, -1}, Case{{3, 5}, 1}, Case{{1000, 3}, 1}, Case{{2, 37, 7, 5}, 1},
        Case{{2, 3, 41, 41}, 1}, Case{{2, 9, 9, 33}, 3}, Case{{1, 200, 1, 1}, 1}, Case{{4, 64, 64}, 0}}) {
    SCOPED_TRACE(to_string(c.dims));
    Emulated device(c.dims, c.axis);
    Statistics want;
    for (float scale : {0.0f, 1e-3f, 5.0f, 1e15f, 1.0f}) {
      const Tensor x = tensor(c.dims, static_cast<uint64_t>(scale * 1000), scale);
      device.observe(x);
      want.observe(x, c.axis);
      expect_same(device.statistics(), want);
    }
  }
}

TEST(DeviceState, HoldsExtremeMagnitudes) {
  for (float m : {1e-45f, 1e-38f, 0x1.fffffep-116f, 0x1p-115f, 1.f, 2047.5f, 2048.f, 3.4028235e38f}) {
    Emulated device({5}, -1);
    Statistics want;
    for (float scale : {0.25f, 1.0f, 0.5f}) {
      const Tensor x =
          Tensor::of<float>(DType::f32, {5}, std::vector<float>{0, -0.f, m * scale, -m * scale / 2, 1e-45f});
      device.observe(x);
      want.observe(x, -1);
      expect_same(device.statistics(), want);
    }
  }
}

TEST(DeviceState, LeavesOutRunsThatAreNotFinite) {
  for (int64_t at : {0, 3, 70, 1199}) {
    Tensor x = tensor({300, 4}, 1, 2);
    Emulated device({300, 4}, 1);
    Statistics want;
    for (int run = 0; run < 3; ++run) {
      device.observe(x);
      want.observe(x, 1);
      expect_same(device.statistics(), want);
      EXPECT_EQ(device.odd().nans, want.nans);
      EXPECT_EQ(device.odd().infinities, want.infinities);
      x.set(at, run == 0 ? NAN : INFINITY);
      x.set((at + 1) % x.count(), -INFINITY);
    }
    EXPECT_EQ(want.nans, 1);
    EXPECT_EQ(want.infinities, 3);
  }
}

TEST(DeviceState, LaunchesStayWithinTheGpusLimits) {
  for (const Layout& layout : {Layout{}, Layout{1, 250000, 1}, Layout{1 << 20, 1, 1 << 14}, Layout{64, 2048, 49},
                               Layout{1 << 22, 3, 1}, Layout{1, 1 << 24, 2}}) {
    const DeviceLaunches how = device_launches(layout);
    EXPECT_LE(how.threads, 1024u);
    EXPECT_EQ(how.threads % static_cast<unsigned>(how.lanes), 0u);
    EXPECT_TRUE(how.channel_blocks >= 1 && how.channel_blocks < 1u << 31);
    EXPECT_TRUE(how.parts >= 1 && how.parts <= 65535);
    EXPECT_GE(static_cast<int64_t>(how.channel_blocks) * how.lanes, layout.channels);
    EXPECT_LT(layout.count() / how.count_blocks, int64_t{1} << 32);
  }
}

}  // namespace
}  // namespace hone::calibrate
