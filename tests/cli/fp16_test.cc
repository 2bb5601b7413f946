// Networks that fp16 cannot hold: `hone build --precision fp16`, for a GPU that need not be here.
#include <algorithm>

#include "base/npy.h"
#include "cli/cli.h"
#include "cuda/nvrtc.h"

namespace hone {
namespace {

class Fp16 : public Cli {
 protected:
  void SetUp() override {
    if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b;
    b.input("x", {4, 16});
    b.weight("w", {16, 32});
    b.node("MatMul", {"x", "w"}, {"h"});
    b.node("Mul", {"h", "h"}, {"square"});
    b.weight("v", {32, 16});
    b.node("MatMul", {"square", "v"}, {"g"});
    b.node("Tanh", {"g"}, {"y"});
    b.output("y");
    save(b, "squares.onnx");
    Tensor x(DType::f32, {4, 16});
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, 1000);
    ASSERT_TRUE(write_npy(path("data.npy"), x).ok());
  }

  Outcome build(std::vector<std::string> more) {
    std::vector<std::string> args{
        "build", path("squares.onnx"), "--target",       "cuda", "--cuda-arch", "sm_90", "--precision", "fp16",
        "-o",    path("e.hone"),       "--timing-cache", "none", "--no-tune"};
    args.insert(args.end(), more.begin(), more.end());
    return hone(args);
  }
};

TEST_F(Fp16, SaysWhatStaysInFp32AndHowItIsKnown) {
  const Outcome guessed = build({});
  ASSERT_EQ(guessed.status, 0) << guessed.err;
  EXPECT_EQ(guessed.out.find("stays in fp32"), std::string::npos) << guessed.out;
  EXPECT_NE(guessed.out.find("random data alone; give --calibrate"), std::string::npos) << guessed.out;
  for (const std::vector<std::string>& data : {std::vector{path("data.npy")}, {}}) {
    std::vector<std::string> more{"--calibration-cache", path("ranges.json")};
    if (!data.empty()) more.insert(more.end(), {"--calibrate", data[0]});
    const Outcome known = build(more);
    ASSERT_EQ(known.status, 0) << known.err;
    EXPECT_NE(known.out.find("'square' stays in fp32"), std::string::npos) << known.out;
    EXPECT_NE(known.out.find("on the data of the calibration"), std::string::npos) << known.out;
  }
}

TEST_F(Fp16, StrictlyIsRefusedInOneLine) {
  const Outcome refused = build({"--strict", "--calibrate", path("data.npy"), "--quiet"});
  EXPECT_EQ(refused.status, 3) << refused.out;
  EXPECT_NE(refused.err.find("'square' stays in fp32"), std::string::npos) << refused.err;
  EXPECT_EQ(std::ranges::count(refused.err, '\n'), 1) << refused.err;
  EXPECT_FALSE(fs::exists(path("e.hone")));
  EXPECT_EQ(build({"--strict"}).status, 0);
}

}  // namespace
}  // namespace hone
