#include <gtest/gtest.h>
#include <hone/hone.h>

#include <limits>

#include "api/tiny_model.h"

using hone::CalibrationBatch;
using hone::Code;
using hone::TensorView;
using namespace hone_test;

namespace {

// Batches of two samples in one buffer, as users have them.
class Buffer : public hone::CalibrationData {
 public:
  explicit Buffer(int batches, float scale = 1) : batches_(batches), scale_(scale) {}
  size_t count() const override { return static_cast<size_t>(batches_); }
  hone::Result<bool> next(CalibrationBatch& batch) override {
    if (failure.code() != Code::ok) return failure;
    if (done_ == batches_) return false;
    ++done_;
    for (int i = 0; i < 8; ++i) x_[i] = scale_ * static_cast<float>(i * done_);
    batch.source = "batch of two";
    batch.inputs = {{"b", TensorView::of(b_, {4})}, {"x", TensorView::of(x_, {2, 4})}};
    if (without_b) batch.inputs.erase(batch.inputs.begin());
    return true;
  }
  hone::Status failure;
  bool without_b = false;

 private:
  int batches_, done_ = 0;
  float scale_;
  float x_[8] = {}, b_[4] = {1, 2, 3, 4};
};

// Batches of one row of product()'s input.
class Rows : public hone::CalibrationData {
 public:
  explicit Rows(int rows) : rows_(rows) {}
  hone::Result<bool> next(CalibrationBatch& batch) override {
    if (done == rows_) return false;
    ++done;
    for (int i = 0; i < 16; ++i) x_[i] = static_cast<float>((i * 29 + done * 17) % 41 - 20);
    batch.inputs = {{"x", TensorView::of(x_, {1, 16})}};
    return true;
  }
  int done = 0;

 private:
  int rows_;
  float x_[16] = {};
};

class Calibrate : public testing::Test {
 private:
  TempFolder folder_;  // before what is written into it

 protected:
  std::string net = folder().write("tiny.onnx", add_relu());
  hone::CalibrationOptions options(std::string calibrator) {
    hone::CalibrationOptions o;
    o.calibrator = std::move(calibrator);
    o.threads = 1;
    return o;
  }
  TempFolder& folder() { return folder_; }
};

TEST_F(Calibrate, FindsSavesAndLoadsRanges) {
  Buffer data(3);
  const hone::Calibration found = hone::calibrate(net, data, options("minmax")).value();
  EXPECT_EQ(found.samples, 6);
  ASSERT_EQ(found.ranges.size(), 4u);  // x, b, their sum and its ReLU
  EXPECT_EQ(found.ranges[0].name, "x");
  EXPECT_EQ(found.ranges[0].threshold, 21);
  EXPECT_EQ(found.ranges[1].high, 4);
  EXPECT_TRUE(found.check(net).ok());
  for (const char* name : {"a.cache", "a.json"}) {
    ASSERT_TRUE(found.save(folder() / name).ok());
    const hone::Calibration read = hone::Calibration::load(folder() / name).value();
    EXPECT_EQ(read.calibrator, "minmax");
    ASSERT_EQ(read.ranges.size(), 4u);
    EXPECT_NEAR(read.ranges[0].threshold, 21, 1e-5);
    EXPECT_TRUE(read.check(net).ok());
    const bool whole = std::string(name).ends_with(".json");
    EXPECT_EQ(read.ranges[0].channels.empty(), !whole);
    EXPECT_NEAR(read.ranges[0].largest, whole ? 21 : 0, 1e-5);
  }
}

TEST_F(Calibrate, ErrorsAreValues) {
  Buffer none(0), missing(1), failing(1), good(5);
  missing.without_b = true;
  failing.failure = {Code::device, "the camera is off"};
  EXPECT_EQ(hone::calibrate(net, none).status().code(), Code::invalid);
  EXPECT_NE(hone::calibrate(net, missing).status().message().find("'b'"), std::string::npos);
  const hone::Status failed = hone::calibrate(net, failing).status();
  EXPECT_EQ(failed.code(), Code::device);
  EXPECT_EQ(failed.message(), "the camera is off");
  EXPECT_EQ(hone::calibrate(net, good, options("magic")).status().code(), Code::invalid);
  auto cancelling = options("auto");
  cancelling.progress = [](size_t done, size_t total) { return done < 2 && total == 5; };
  EXPECT_EQ(hone::calibrate(net, good, cancelling).status().code(), Code::cancelled);
  EXPECT_EQ(hone::calibrate(folder() / "missing.onnx", good).status().code(), Code::invalid);
  EXPECT_EQ(hone::Calibration::load(net).status().code(), Code::invalid);
  hone::Calibration other;
  other.ranges = {{"z", -1, 1, 1}};
  EXPECT_NE(other.check(net).message().find("another model"), std::string::npos);
  EXPECT_EQ(other.save(folder() / "a", "parquet").code(), Code::invalid);
  other.ranges = {{"z", -1, std::numeric_limits<double>::infinity(), 1}};
  EXPECT_EQ(other.save(folder() / "a.json").code(), Code::invalid);
}

TEST_F(Calibrate, AnAccuracyBudgetIsMeasuredOnTheUsersData) {
  Buffer data(3), again(3);
  hone::BuildOptions build{.target = "cpu", .accuracy_budget = 0.01, .threads = 1, .tune = false};
  build.shapes["x"] = {2, 4};
  EXPECT_NE(hone::build(net, build).status().message().find("accuracy_data"), std::string::npos);
  build.accuracy_data = &data;
  const auto built = hone::build(net, build);
  ASSERT_TRUE(built.ok()) << built.status().message();
  EXPECT_NE(built->inspect_json().find("accuracy: error (no single output"), std::string::npos);
  build.accuracy_data = &again;
  build.accuracy_metric = "f1";
  EXPECT_NE(hone::build(net, build).status().message().find("'f1'"), std::string::npos);
}

TEST_F(Calibrate, ABuildFindsTheRangesOnTheUsersData) {
  const std::string model = folder().write("product.onnx", product()), cache = folder() / "product.json";
  hone::BuildOptions build{.target = "cpu", .precisions = {hone::Precision::int8}, .threads = 1, .tune = false};
  EXPECT_NE(hone::build(model, build).status().message().find("calibration_data"), std::string::npos);
  Rows first(16), second(16);
  build.calibration_data = &first;
  build.calibration_cache = cache;
  const auto built = hone::build(model, build);
  ASSERT_TRUE(built.ok()) << built.status().message();
  EXPECT_EQ(first.done, 16);
  EXPECT_NE(built->inspect_json().find("\"precision\": \"int8\""), std::string::npos);
  EXPECT_NE(built->inspect_json().find("biases of int8"), std::string::npos);

  // The cache stands for the data's ranges now: whatever its ranges are, they are taken.
  hone::Calibration scaled = hone::Calibration::load(cache).value();
  for (auto& range : scaled.ranges) range.low *= 2, range.high *= 2;
  ASSERT_TRUE(scaled.save(cache).ok());
  build.calibration_data = &second;
  ASSERT_TRUE(hone::build(model, build).ok());
  EXPECT_EQ(second.done, 16);
  EXPECT_NEAR(hone::Calibration::load(cache).value().ranges[0].high, scaled.ranges[0].high, 1e-5);

  build.calibration_cache = folder() / "no such folder/cache";
  Rows unread(16);
  build.calibration_data = &unread;
  EXPECT_NE(hone::build(model, build).status().message().find("no such folder"), std::string::npos);
  EXPECT_EQ(unread.done, 0);
}

TEST_F(Calibrate, ABudgetIsMeasuredOnWhatIsHeldBack) {
  const std::string model = folder().write("product.onnx", product());
  Rows data(16);
  const hone::BuildOptions build{.target = "cpu",
                                 .precisions = {hone::Precision::int8},
                                 .calibration_data = &data,
                                 .accuracy_budget = 0.5,
                                 .accuracy_metric = "error",
                                 .threads = 1,
                                 .tune = false};
  const auto built = hone::build(model, build);
  ASSERT_TRUE(built.ok()) << built.status().message();
  EXPECT_NE(built->inspect_json().find("in 4 runs on data kept back"), std::string::npos);
}

}  // namespace
