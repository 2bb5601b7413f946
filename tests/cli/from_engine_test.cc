// `hone build --from-engine`: engines that are built again from what they hold.
#include <cmath>

#include "base/npy.h"
#include "cli/cli.h"
#include "cuda/nvrtc.h"

namespace hone {
namespace {

using Json = nlohmann::json;

class FromEngine : public Cli {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b;
    b.input("x", {1, 8, 12, 12});
    b.weight("w", {16, 8, 3, 3});
    b.node("Conv", {"x", "w"}, {"h"});
    b.node("Relu", {"h"}, {"r"});
    b.weight("v", {4, 16, 1, 1});
    b.node("Conv", {"r", "v"}, {"y"});
    b.output("y");
    save(b, "conv.onnx");
    Tensor x(DType::f32, {6, 8, 12, 12});
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::sin(static_cast<double>(i)));
    ASSERT_TRUE(write_npy(path("data.npy"), x).ok());
  }

  // Untuned, so that two builds decide alike.
  void build(const std::string& engine, std::vector<std::string> from, std::vector<std::string> more = {}) {
    std::vector<std::string> args{"build", "-o", path(engine), "--no-tune", "--timing-cache", "none", "--quiet"};
    args.insert(args.end(), from.begin(), from.end());
    args.insert(args.end(), more.begin(), more.end());
    const Outcome built = hone(args);
    ASSERT_EQ(built.status, 0) << built.err;
  }
  std::string result_of(const std::string& engine) {
    const Outcome run = hone({"run", path(engine), "--seed", "7", "--output-dir", path("out"), "--quiet"});
    EXPECT_EQ(run.status, 0) << run.err;
    return read_text(path("out/y.npy"));
  }
  Json inspected(const std::string& engine, std::vector<std::string> more = {}) {
    std::vector<std::string> args{"inspect", path(engine), "--json", "-"};
    args.insert(args.end(), more.begin(), more.end());
    return json(hone(args));
  }
};

TEST_F(FromEngine, TheSameBitsComeOut) {
  build("a.hone", {path("conv.onnx")}, {"--target", "cpu"});
  fs::remove(path("conv.onnx"));
  build("b.hone", {"--from-engine", path("a.hone")});
  build("c.hone", {"--from-engine", path("b.hone")});
  EXPECT_EQ(result_of("a.hone"), result_of("b.hone"));
  EXPECT_EQ(result_of("a.hone"), result_of("c.hone"));
  Json a = inspected("a.hone"), c = inspected("c.hone");
  EXPECT_GT(a["portable_bytes"], 4 * (16 * 8 * 9 + 4 * 16));
  expect_words(hone({"inspect", path("a.hone"), "--text"}).out, {"input %", "Conv("});
  for (Json* json : {&a, &c}) json->erase("build");
  EXPECT_EQ(a, c);
}

TEST_F(FromEngine, OptionsAreTheEnginesUnlessTheyAreGiven) {
  build("a.hone", {path("conv.onnx")}, {"--target", "cpu", "--isa", "scalar", "--threads", "1", "--no-winograd"});
  build("b.hone", {"--from-engine", path("a.hone")});
  EXPECT_EQ(inspected("a.hone")["device"], inspected("b.hone")["device"]);
  build("c.hone", {"--from-engine", path("a.hone")}, {"--threads", "2"});
  const std::string device = inspected("c.hone")["device"];
  expect_words(device, {"tier 0", "threads 2"});
  build("d.hone", {"--from-engine", path("a.hone")}, {"--target", "reference"});
  EXPECT_EQ(inspected("d.hone")["target"], "reference");
}

TEST_F(FromEngine, RangesAndWhatABudgetLeftAreKept) {
  // Ranges alone: with the data biases are corrected, which a build from the engine cannot do again.
  ASSERT_EQ(hone({"calibrate", path("conv.onnx"), "--data", path("data.npy"), "-o", path("c.json"), "--quiet"}).status,
            0);
  build("a.hone", {path("conv.onnx")},
        {"--target", "cpu", "--precision", "int8", "--calibration-cache", path("c.json")});
  build("b.hone", {"--from-engine", path("a.hone")});
  EXPECT_EQ(result_of("a.hone"), result_of("b.hone"));
  const auto int8_layers = [&](const char* engine) {
    const Json report = inspected(engine);
    return std::ranges::count_if(report["layers"], [](const Json& layer) { return layer["precision"] == "int8"; });
  };
  EXPECT_GT(int8_layers("a.hone"), 0);
  EXPECT_EQ(int8_layers("a.hone"), int8_layers("b.hone"));
  build("fp32.hone", {"--from-engine", path("a.hone")}, {"--precision", "fp32"});
  EXPECT_EQ(int8_layers("fp32.hone"), 0);

  // No layer keeps a budget this small.
  build("c.hone", {path("conv.onnx")},
        {"--target", "cpu", "--precision", "int8", "--calibrate", path("data.npy"), "--accuracy-budget", "0.01%",
         "--accuracy-metric", "error"});
  build("d.hone", {"--from-engine", path("c.hone")});
  expect_words(inspected("d.hone")["build"]["notes"].dump(), {"not measured again: accuracy: error"});
  EXPECT_EQ(int8_layers("d.hone"), 0);
  EXPECT_EQ(result_of("c.hone"), result_of("d.hone"));
}

TEST_F(FromEngine, WhatNeedsTheModelIsRefused) {
  build("a.hone", {path("conv.onnx")}, {"--target", "cpu"});
  build("none.hone", {path("conv.onnx")}, {"--target", "cpu", "--no-portable"});
  EXPECT_LT(fs::file_size(path("none.hone")), fs::file_size(path("a.hone")));
  EXPECT_TRUE(inspected("none.hone")["portable_bytes"].is_null());
  const auto refuses = [&](std::vector<std::string> args, const std::vector<std::string>& words) {
    args.insert(args.begin(), {"build", "-o", path("b.hone")});
    expect_error(args, 2, words);
    EXPECT_FALSE(fs::exists(path("b.hone")));
  };
  refuses({"--from-engine", path("none.hone")}, {"none.hone", "no portable graph", "--no-portable"});
  refuses({"--from-engine", path("conv.onnx")}, {"conv.onnx", "not an engine file"});
  refuses({path("a.hone")}, {"a.hone", "--from-engine"});
  refuses({}, {"MODEL", "--from-engine"});
  refuses({path("conv.onnx"), "--from-engine", path("a.hone")}, {"MODEL", "--from-engine"});
  refuses({"--from-engine", path("a.hone"), "--precision", "int8"}, {"a.hone", "ranges"});
  refuses({"--from-engine", path("a.hone"), "--calibrate", path("data.npy"), "--accuracy-budget", "1%", "--shape",
           "x:2x8x12x12"},
          {"a.hone", "--shape, --calibrate, --accuracy-budget", "needs the model"});
}

TEST_F(FromEngine, ADamagedGraphStopsThisAlone) {
  build("a.hone", {path("conv.onnx")}, {"--target", "cpu"});
  std::string bytes = read_text(path("a.hone"));
  const size_t at = bytes.find("graph \"");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 'G';
  std::ofstream(path("a.hone"), std::ios::binary) << bytes;
  EXPECT_EQ(hone({"run", path("a.hone"), "--quiet"}).status, 0);
  expect_error({"build", "--from-engine", path("a.hone"), "-o", path("b.hone")}, 2,
               {"a.hone: the portable graph: ", "damaged"});
}

TEST_F(FromEngine, SeveralArchitecturesShareAnEngine) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  build("a.hone", {path("conv.onnx")}, {"--target", "cpu", "--precision", "fp16"});
  for (const auto& [name, archs] :
       {std::pair<const char*, const char*>{"80.hone", "sm_80"}, {"86.hone", "sm_86"}, {"both.hone", "sm_80,sm_86"}})
    build(name, {"--from-engine", path("a.hone")}, {"--cuda-arch", archs});
  EXPECT_LT(fs::file_size(path("both.hone")), fs::file_size(path("80.hone")) + fs::file_size(path("86.hone")));
  const Json both = inspected("both.hone", {"--cuda-arch", "sm_86"});
  EXPECT_EQ(both["cuda_archs"], (Json{"sm_80", "sm_86"}));
  EXPECT_EQ(both["cuda_arch"], "sm_86");
  EXPECT_EQ(both["target"], "cuda");
  EXPECT_EQ(both["layers"], inspected("86.hone")["layers"]);
  expect_words(both["build"]["notes"].dump(), {"nothing was timed for sm_86"});
  expect_error({"inspect", path("both.hone"), "--cuda-arch", "sm_75"}, 2, {"both.hone", "sm_75", "sm_80, sm_86"});
  expect_error({"build", path("conv.onnx"), "-o", path("no.hone"), "--cuda-arch", "sm_80,sm_80"}, 2, {"twice"});
  expect_error({"build", path("conv.onnx"), "-o", path("no.hone"), "--cuda-arch", "sm_80,ampere"}, 2, {"ampere"});
  expect_error({"run", path("conv.onnx"), "--cuda-arch", "sm_80,sm_86"}, 2, {"sm_80,sm_86", "hone build"});
  expect_error({"inspect", path("both.hone"), "--cuda-arch", "sm_80,sm_86"}, 2, {"--cuda-arch", "one"});
}

}  // namespace
}  // namespace hone
