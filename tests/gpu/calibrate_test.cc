// Tensors observed on the GPU that is here, beside the CPU's statistics of the same values, and calibration by them.
// Skipped without one.
#include "calibrate/calibrate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "calibrate/cache.h"
#include "calibrate/device_statistics.h"
#include "calibrate/residual_block.h"
#include "calibrate/same_statistics.h"

namespace hone::calibrate {
namespace {

using testing::ModelBuilder;

// Values of a type, a third of them 0.
Tensor values_of(DType type, const Dims& dims, uint64_t seed, float scale) {
  const Tensor normal = random(dims, seed, scale);
  Tensor t(type, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, i % 3 == 0 ? 0 : normal.at(i));
  return t;
}

class GpuStatistics : public ::testing::Test {
 protected:
  using Observed = DeviceStatistics::Observed;

  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  }

  // In every type, with ranges of histograms that grow.
  static void expect_same_as_cpu(std::vector<Observed> tensors, const std::vector<float>& scales) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::f8e4m3fn}) {
      SCOPED_TRACE(name(type));
      for (Observed& t : tensors) t.type = type;
      std::vector<Tensors> runs;
      for (float scale : scales) {
        Tensors& run = runs.emplace_back();
        for (const Observed& t : tensors) run.push_back(values_of(type, t.dims, runs.size() * 100 + run.size(), scale));
      }
      expect_same_as_cpu(tensors, runs);
    }
  }

  // Takes `runs`, a value for each of `tensors`, and compares.
  static void expect_same_as_cpu(const std::vector<Observed>& tensors, const std::vector<Tensors>& runs) {
    auto device = DeviceStatistics::create(0, tensors);
    ASSERT_TRUE(device.ok()) << device.status().message();
    std::vector<std::vector<Statistics>> taken;
    for (int time = 0; time < 2; ++time) {
      std::vector<Statistics> want(tensors.size());
      for (const Tensors& run : runs) {
        std::vector<std::shared_ptr<std::byte>> memory;
        std::vector<NotFinite> odd(tensors.size());
        auto stream = cuda::Stream::create();
        ASSERT_TRUE(stream.ok());
        for (size_t k = 0; k < tensors.size(); ++k) {
          odd[k] = want[k].observe(run[k], tensors[k].axis);
          auto there = cuda::allocate(static_cast<int64_t>(run[k].bytes()));
          ASSERT_TRUE(there.ok());
          ASSERT_TRUE((*stream)->copy_to_device(there->get(), run[k].raw(), run[k].bytes()).ok());
          const Status status =
              (*device)->observe(k, Tensor(run[k].type(), run[k].dims(), there->get(), *there), **stream);
          ASSERT_TRUE(status.ok()) << status.message();
          memory.push_back(*there);
        }
        const auto got = (*device)->finish(**stream);
        ASSERT_TRUE(got.ok()) << got.status().message();
        for (size_t k = 0; k < tensors.size(); ++k) {
          EXPECT_EQ((*got)[k].nans, odd[k].nans) << k;
          EXPECT_EQ((*got)[k].infinities, odd[k].infinities) << k;
        }
      }
      const auto got = (*device)->take();
      ASSERT_TRUE(got.ok()) << got.status().message();
      for (size_t k = 0; k < tensors.size(); ++k) {
        SCOPED_TRACE(to_string(tensors[k].dims));
        expect_same((*got)[k], want[k]);
        EXPECT_EQ((*got)[k].runs, want[k].runs);
        EXPECT_EQ((*got)[k].nans, want[k].nans);
        EXPECT_EQ((*got)[k].infinities, want[k].infinities);
      }
      taken.push_back(*got);
    }
    // Sums are added in the same order every time.
    for (size_t k = 0; k < tensors.size(); ++k) {
      EXPECT_EQ(taken[0][k].sum, taken[1][k].sum) << k;
      EXPECT_EQ(taken[0][k].sum_of_squares, taken[1][k].sum_of_squares) << k;
      EXPECT_EQ(taken[0][k].channels.sum, taken[1][k].channels.sum) << k;
    }
  }
};

TEST_F(GpuStatistics, SmallOnesAreThoseOfTheCpu) {
  expect_same_as_cpu({{DType::f32, {}, -1},
                      {DType::f32, {5003}, -1},
                      {DType::f32, {1007, 3}, 1},
                      {DType::f32, {2, 16, 15, 67}, 3},
                      {DType::f32, {3, 64, 11, 13}, 1},
                      {DType::f32, {1, 2048}, 1}},
                     {1e-2f, 60.f});
}

TEST_F(GpuStatistics, AreThoseOfTheCpu) {
  expect_same_as_cpu({{DType::f32, {1}, -1},
                      {DType::f32, {1000003}, -1},
                      {DType::f32, {3, 5}, 1},
                      {DType::f32, {10007, 3}, 1},
                      {DType::f32, {2, 56, 56, 64}, 3},
                      {DType::f32, {2, 56, 55, 67}, 3},
                      {DType::f32, {2, 37, 7, 5}, 1},
                      {DType::f32, {3, 64, 41, 43}, 1},
                      {DType::f32, {1, 2048, 1, 1}, 1},
                      {DType::f32, {4, 128, 100}, 0},
                      {DType::f32, {1, 1, 640, 481}, 1},
                      {DType::f32, {7, 30011}, 1}},
                     {1e-2f, 3.f, 0.5f, 60.f, 1.f});
}

TEST_F(GpuStatistics, OfExtremeMagnitudes) {
  const std::vector<Observed> tensor{{DType::f32, {5}, -1}};
  for (float m : {1e-45f, 1e-38f, 0x1.fffffep-116f, 0x1p-115f, 1.f, 2047.5f, 2048.f, 1e20f, 3.4028235e38f}) {
    std::vector<Tensors> runs;
    for (float scale : {0.25f, 1.f, 0.5f})
      runs.push_back(
          {Tensor::of<float>(DType::f32, {5}, std::vector<float>{0, -0.f, m * scale, -m * scale / 2, 1e-45f})});
    expect_same_as_cpu(tensor, runs);
  }
}

TEST_F(GpuStatistics, LeaveOutRunsThatAreNotFinite) {
  const std::vector<Observed> tensors{{DType::f32, {2, 9, 9, 33}, 3}, {DType::f32, {2, 9, 9, 33}, 3}};
  for (int64_t at : {0, 70, 5345}) {
    std::vector<Tensors> runs;
    for (int run = 0; run < 4; ++run) {
      Tensors& values = runs.emplace_back();
      for (uint64_t k = 0; k < 2; ++k) values.push_back(random(tensors[k].dims, k + 1));
      if (run == 1) values[0].set(at, NAN);
      if (run == 2) values[0].set(at, INFINITY);
      if (run > 0) values[0].set((at + 1) % values[0].count(), -INFINITY);
    }
    expect_same_as_cpu(tensors, runs);
  }
}

TEST_F(GpuStatistics, TensorsThatTheKernelsDoNotTakeHaveNoPlace) {
  const std::vector<Observed> tensors{{DType::f64, {4}, -1}, {DType::f32, {0, 4}, 1}, {}, {DType::f32, {4}, -1}};
  const auto device = DeviceStatistics::create(0, tensors);
  ASSERT_TRUE(device.ok()) << device.status().message();
  for (size_t k = 0; k < tensors.size(); ++k) EXPECT_EQ((*device)->takes(k), k == 3) << k;
}

class GpuCalibrate : public ResidualBlock {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
    ASSERT_NO_FATAL_FAILURE(ResidualBlock::SetUp());
  }
  Result<Report> run_on(const std::string& target, std::vector<std::vector<Tensor>> data, const Options& options) {
    target_ = target;
    return run(std::move(data), options);
  }
  void expect_ranges_of_the_cpu(const std::vector<std::vector<Tensor>>& data) {
    const auto want = run_on("cpu", data, {.calibrator = "minmax"});
    const auto got = run_on("cuda", data, {.calibrator = "minmax"});
    ASSERT_TRUE(want.ok() && got.ok()) << want.status().message() << got.status().message();
    expect_alike(*got, *want);
  }
  // The same tensors and counts, ranges no more than a bin apart.
  static void expect_alike(const Report& got, const Report& want) {
    ASSERT_EQ(got.tensors.size(), want.tensors.size());
    for (size_t k = 0; k < want.tensors.size(); ++k) {
      const TensorReport &g = got.tensors[k], &w = want.tensors[k];
      EXPECT_EQ(g.name, w.name);
      EXPECT_EQ(g.statistics.runs, w.statistics.runs) << g.name;
      EXPECT_EQ(g.statistics.magnitudes.total(), w.statistics.magnitudes.total()) << g.name;
      EXPECT_EQ(g.statistics.channels.low.size(), w.statistics.channels.low.size()) << g.name;
      const double bin = std::max(g.statistics.magnitudes.width(), w.statistics.magnitudes.width());
      EXPECT_NEAR(g.range.threshold(), w.range.threshold(), bin) << g.name;
      ASSERT_EQ(g.range.channels.size(), w.range.channels.size()) << g.name;
      for (size_t c = 0; c < w.range.channels.size(); ++c)
        EXPECT_NEAR(g.range.channels[c], w.range.channels[c], bin) << g.name << " " << c;
    }
  }
};

TEST_F(GpuCalibrate, FindsTheRangesOfTheCpu) {
  for (const char* calibrator : {"minmax", "percentile", "mse", "entropy"}) {
    SCOPED_TRACE(calibrator);
    const auto want = run_on("cpu", batches_of(4), {.calibrator = calibrator});
    ASSERT_TRUE(want.ok()) << want.status().message();
    for (int64_t rows : {1, 3, 0}) {
      const auto got = run_on("cuda", batches_of(4), {.calibrator = calibrator, .rows = rows});
      ASSERT_TRUE(got.ok()) << got.status().message();
      EXPECT_EQ(got->samples, 12);
      if (rows == 1) expect_alike(*got, *want);
      for (size_t k = 0; k < want->tensors.size(); ++k)
        EXPECT_NEAR(got->tensors[k].range.threshold(), want->tensors[k].range.threshold(),
                    want->tensors[k].statistics.magnitudes.width())
            << rows << " " << want->tensors[k].name;
    }
  }
}

TEST_F(GpuCalibrate, WritesTheSameBytesAgainAndInAnotherOrder) {
  auto shuffled = batches_of(1);
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(7));
  for (const CacheFormat& format : cache_formats()) {
    const auto bytes = [&](const std::vector<std::vector<Tensor>>& data, const Options& options) {
      const auto report = run_on("cuda", data, options);
      EXPECT_TRUE(report.ok()) << report.status().message();
      return report.ok() ? format.write(report->table) : "";
    };
    const std::string once = bytes(batches_of(6), {});
    EXPECT_EQ(bytes(batches_of(6), {}), once);
    EXPECT_EQ(bytes(shuffled, {}), once);
    const Options whole{.calibrator = "auto", .rows = 0};
    EXPECT_EQ(bytes(batches_of(6), whole), bytes(batches_of(6), whole));
  }
}

TEST_F(GpuCalibrate, ObservesInputsThatNoStepReads) {
  ModelBuilder m;
  m.input("x", {1, 4});
  m.input("z", {1, 5});
  m.node("Relu", {"x"}, {"y"});
  m.output("y");
  save(m);
  std::vector<std::vector<Tensor>> data;
  for (uint64_t k = 0; k < 4; ++k) data.push_back({random({1, 4}, k), random({1, 5}, k + 10)});
  expect_ranges_of_the_cpu(data);
}

// What is computed in f64 runs on the CPU, between steps of the GPU.
TEST_F(GpuCalibrate, ObservesWhatRunsOnTheCpuThere) {
  ModelBuilder m;
  m.input("x", {1, 3, 8, 8});
  m.weight("w1", {4, 3, 1, 1});
  m.weight("w2", {5, 4, 1, 1});
  const auto cast = [&](const char* from, const char* to, int type) {
    ModelBuilder::attr(m.node("Cast", {from}, {to}), "to", onnx::AttributeProto::INT).set_i(type);
  };
  m.node("Conv", {"x", "w1"}, {"c1"});
  cast("c1", "wide", onnx::TensorProto::DOUBLE);
  m.node("Tanh", {"wide"}, {"bent"});
  cast("bent", "narrow", onnx::TensorProto::FLOAT);
  m.node("Conv", {"narrow", "w2"}, {"y"});
  m.output("y");
  save(m);
  std::vector<std::vector<Tensor>> data;
  for (uint64_t k = 0; k < 5; ++k) data.push_back({random({1, 3, 8, 8}, k, 0.1f)});
  expect_ranges_of_the_cpu(data);
}

TEST_F(GpuCalibrate, ShapesMayChangeBetweenSamples) {
  save_convolution_of_open_dims();
  expect_ranges_of_the_cpu(squares({4, 5, 6, 7, 8, 4, 8}));
}

TEST_F(GpuCalibrate, ATensorThatBecomesNanIsNamed) {
  ModelBuilder m;
  m.input("x", {1, 4});
  m.weight("w", {4, 4});
  m.node("MatMul", {"x", "w"}, {"h"});
  m.node("Sqrt", {"h"}, {"root"});
  m.node("Mul", {"root", "x"}, {"y"});
  m.output("y");
  save(m);
  const Tensor x = Tensor::of<float>(DType::f32, {1, 4}, std::vector<float>{1, 1, 1, 1});
  const auto want = run_on("cpu", {{x}}, {}), got = run_on("cuda", {{x}}, {});
  refuses(got, {"sample 0", "'root'", "n_root", "NaN"});
  EXPECT_EQ(got.status().message(), want.status().message());
}

}  // namespace
}  // namespace hone::calibrate
