// Data, models and caches that `hone build --precision int8` and `hone calibrate` cannot take, or doubt.
#include <stb_image_write.h>

#include <cmath>
#include <functional>
#include <random>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

class CalibrationData : public Cli {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    save(network(1), "conv.onnx");
    fs::create_directory(path("data"));
  }

  // Its size is open; the third weight of its first layer is given.
  static ModelBuilder network(float weight) {
    ModelBuilder b;
    b.input("x", {1, 3, 8, 8});
    auto* dims = b.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
    for (const int k : {2, 3}) dims->mutable_dim(k)->set_dim_param(k == 2 ? "h" : "w");
    b.weight("first", {8, 3, 3, 3}).set_float_data(2, weight);
    b.node("Conv", {"x", "first"}, {"h"});
    b.node("Relu", {"h"}, {"r"});
    b.weight("second", {4, 8, 1, 1});
    b.node("Conv", {"r", "second"}, {"y"});
    b.output("y");
    return b;
  }

  void data(const std::function<double(int64_t)>& value, Dims dims = {1, 3, 8, 8}) const {
    Tensor x(DType::f32, std::move(dims));
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, value(i));
    ASSERT_TRUE(write_npy(path("data/x.npy"), x).ok());
  }
  void images(int width, int height) const {
    std::vector<uint8_t> pixels(static_cast<size_t>(3 * width * height));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * i);
    ASSERT_NE(stbi_write_png(path("data/x.png").c_str(), width, height, 3, pixels.data(), 3 * width), 0);
  }

  std::vector<std::string> build(const std::string& model, std::vector<std::string> more) const {
    std::vector<std::string> args{"build", path(model),   "--shape",     "x:1x3x8x8", "--target",
                                  "cpu",   "--precision", "int8",        "--no-tune", "--timing-cache",
                                  "none",  "-o",          path("e.hone")};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  std::vector<std::string> calibrate(const std::string& model) const {
    return {"calibrate", path(model), "--data", path("data"), "-o", path("r.json")};
  }

  // Both say the same, and leave nothing.
  void both_refuse(const std::string& model, const std::vector<std::string>& words) {
    expect_error(calibrate(model), 2, words);
    expect_error(build(model, {"--calibrate", path("data")}), 2, words);
    EXPECT_FALSE(fs::exists(path("r.json")) || fs::exists(path("e.hone")));
  }
  void both_warn(const std::string& text) {
    for (const auto& args : {calibrate("conv.onnx"), build("conv.onnx", {"--calibrate", path("data")})}) {
      const Outcome got = hone(args);
      EXPECT_EQ(got.status, 0) << got.err;
      EXPECT_NE(got.err.find("hone: warning: " + text), std::string::npos) << got.err;
    }
  }
};

double wave(int64_t i) { return std::sin(0.1 * static_cast<double>(i)); }

TEST_F(CalibrationData, OfOneSampleIsDoubted) {
  data(wave);
  both_warn("there is only one sample");
}

TEST_F(CalibrationData, ThatLooksRandomIsDoubted) {
  std::mt19937 gen(3);
  std::normal_distribution<double> dist;
  data([&](int64_t) { return dist(gen); }, {12, 3, 8, 8});
  both_warn("input 'x' looks like random numbers");
}

TEST_F(CalibrationData, WithAChannelThatNeverChangesIsDoubted) {
  data([](int64_t i) { return i / 64 % 3 == 1 ? 0.5 : wave(i); }, {4, 3, 8, 8});
  both_warn("2 tensors with channels that never change: 'x' (1 of 3, the first is 1)");
}

TEST_F(CalibrationData, ThatIsNotFiniteIsRefused) {
  for (const double odd : {NAN, INFINITY, -INFINITY}) {
    data([&](int64_t i) { return i == 70 ? odd : wave(i); });
    both_refuse("conv.onnx", {"x.npy", "input 'x'", fmt::format("holds {} (element 70)", odd), "clean the data"});
  }
}

TEST_F(CalibrationData, ThatOverflowsIsRefused) {
  data([](int64_t i) { return i / 64 == 1 ? 3e38 : -3e38; });
  both_refuse("conv.onnx", {"conv.onnx", "(Conv)", "tensor", "NaN", "x.npy", "leave such data out"});
}

TEST_F(CalibrationData, WeightsThatAreNotFiniteAreNamed) {
  data(wave, {4, 3, 8, 8});
  for (const float odd : {NAN, INFINITY}) {
    save(network(odd), "broken.onnx");
    both_refuse("broken.onnx",
                {"broken.onnx", "'n_h' (Conv)", fmt::format("its constant 'first' holds {} (element 2)", odd)});
  }
}

TEST_F(CalibrationData, OfASizeThatTheNetworkCannotTakeIsNamed) {
  data(wave, {4, 3, 2, 2});
  both_refuse("conv.onnx", {"x.npy", "conv.onnx", "'n_h' (Conv)"});
}

TEST_F(CalibrationData, ImagesAreAsLargeAsTheBuildSays) {
  images(8, 8);
  expect_error(calibrate("conv.onnx"), 2, {"x.png", "--preprocess"});
  const std::vector<std::string> how{"--calibrate", path("data"), "--preprocess", "signed", "--quiet"};
  EXPECT_EQ(hone(build("conv.onnx", how)).status, 0);
  images(9, 7);
  expect_error(build("conv.onnx", how), 2, {"x.png", "is 7x9, the model takes 8x8", "resize"});
  auto calibrated = calibrate("conv.onnx");
  calibrated.insert(calibrated.end(), {"--preprocess", "signed"});
  expect_error(calibrated, 2, {"x.png", "leaves the size open", "give --shape"});
}

}  // namespace
}  // namespace hone
