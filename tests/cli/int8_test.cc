// Networks with ranges: `hone build --precision int8`.
#include <cmath>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

class Int8 : public Cli {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b;
    b.input("x", {1, 8, 6, 6});
    b.weight("w", {16, 8, 3, 3});
    b.node("Conv", {"x", "w"}, {"h"});
    b.node("Relu", {"h"}, {"r"});
    b.weight("v", {4, 16, 1, 1});
    b.node("Conv", {"r", "v"}, {"y"});
    b.output("y");
    save(b, "conv.onnx");
    Tensor x(DType::f32, {6, 8, 6, 6});
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::sin(static_cast<double>(i)));
    ASSERT_TRUE(write_npy(path("data.npy"), x).ok());
  }

  Outcome build(std::vector<std::string> more) {
    std::vector<std::string> args{"build", path("conv.onnx"), "--target",       "cpu", "--precision", "int8",
                                  "-o",    path("e.hone"),    "--timing-cache", "none"};
    args.insert(args.end(), more.begin(), more.end());
    return hone(args);
  }
};

TEST_F(Int8, IsComputedWithRangesFoundOnTheWayAndKept) {
  const Outcome built =
      build({"--no-tune", "--calibrate", path("data.npy"), "--calibration-cache", path("r.cache"), "--quiet"});
  ASSERT_EQ(built.status, 0) << built.err;
  ASSERT_EQ(hone({"inspect", path("e.hone"), "--json", path("e.json")}).status, 0);
  size_t integers = 0;
  const auto report = nlohmann::json::parse(read_text(path("e.json")));
  for (const auto& layer : report["layers"])
    integers += layer["precision"] == "int8" && layer["tactic"].get<std::string>().starts_with("cpu.conv_int8");
  EXPECT_EQ(integers, 2u);
  EXPECT_EQ(report["build"]["notes"].dump().find("[\"biases of int8 are "), 0u) << report["build"]["notes"].dump();
  // Steps of 1/127 of the ranges: some 40 dB a tensor.
  const Outcome compared = hone({"compare", path("e.hone"), path("conv.onnx"), "--target-b", "reference", "--input",
                                 "x=0.5", "--tolerance", "0.05"});
  EXPECT_EQ(compared.status, 0) << compared.out << compared.err;
  // The cache is enough from now on.
  EXPECT_EQ(build({"--no-tune", "--calibration-cache", path("r.cache"), "--quiet"}).status, 0);
}

TEST_F(Int8, IsTakenWhenItIsFasterAndSaysSo) {
  const Outcome built = build({"--calibrate", path("data.npy")});
  ASSERT_EQ(built.status, 0) << built.err;
  EXPECT_NE(built.out.find("the network takes"), std::string::npos) << built.out;
}

TEST_F(Int8, NeedsRanges) {
  const auto refused = [&](std::vector<std::string> more, const std::string& word) {
    const Outcome got = build(std::move(more));
    EXPECT_EQ(got.status, 2) << got.out;
    EXPECT_NE(got.err.find(word), std::string::npos) << got.err;
    EXPECT_FALSE(fs::exists(path("e.hone")));
  };
  refused({}, "--calibrate");
  refused({"--calibration-cache", path("none.cache")}, "none.cache");
  refused({"--calibrate", path("none.npy")}, "none.npy");
  std::ofstream(path("bad.cache")) << "TRT-8601-EntropyCalibration2\nother: 3f810204\n";
  refused({"--calibration-cache", path("bad.cache")}, "another model");
}

}  // namespace
}  // namespace hone
