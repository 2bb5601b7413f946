// `hone compare`.
#include <sys/stat.h>

#include "base/npy.h"
#include "cli/cli.h"
#include "tools/difference.h"

namespace hone {
namespace {

using Json = nlohmann::json;

std::vector<std::string> names(const Json& result) {
  std::vector<std::string> names;
  for (const Json& t : result["tensors"]) names.push_back(t["name"]);
  return names;
}

class CliCompare : public Cli {
 protected:
  // Two convolutions of a tensor with as many channels as rows and columns, so that only the name tells the layout.
  ModelBuilder net(float change) const {
    ModelBuilder m;
    m.input("x", {1, 4, 4, 4});
    m.weight("v", {4, 4, 1, 1});
    auto& w = m.weight("w", {4, 4, 1, 1});
    w.set_float_data(5, w.float_data(5) + change);
    m.node("Conv", {"x", "v"}, {"first"});
    m.node("Relu", {"first"}, {"second"});
    m.node("Conv", {"second", "w"}, {"third"});
    m.node("Sigmoid", {"third"}, {"fourth"});
    m.output("fourth");
    return m;
  }
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    save(net(0), "conv.onnx");
    save(net(0.5f), "other.onnx");
  }
  Outcome compare(std::vector<std::string> args) const {
    args.insert(args.begin(), {"compare", "--no-tune", "--target", "cpu"});
    return hone(args);
  }
  // A program in the place of Python: FOLDER, where it finds its job and leaves its answer, is its third argument.
  std::string fake_python(const std::string& commands) const {
    std::ofstream(path("fake")) << "#!/bin/sh\n" << commands;
    chmod(path("fake").c_str(), 0700);
    return path("fake");
  }
};

TEST_F(CliCompare, AgreesWithTheReference) {
  for (const char* what : {"conv.onnx", "net.onnx"}) {
    const Outcome got = compare({path(what), "reference"});
    EXPECT_EQ(got.status, 0) << got.out << got.err;
    expect_words(got.out, {what == std::string("conv.onnx") ? "tensors agree" : "1 tensor agrees"});
  }
  const Json result = json(compare({path("conv.onnx"), "reference", "--json", "-"}));
  EXPECT_EQ(names(result), (std::vector<std::string>{"second", "fourth"}));
  EXPECT_EQ(result["first_drift"], nullptr);
  for (const char* key : {"max_abs", "mean_abs", "cosine"}) EXPECT_TRUE(result["tensors"][1][key].is_number()) << key;
  EXPECT_LT(result["tensors"][1]["max_abs"], 1e-5);
  EXPECT_GT(result["tensors"][1]["cosine"], 0.99999);
}

TEST_F(CliCompare, AnEngineAndItsModel) {
  ASSERT_EQ(hone({"build", path("conv.onnx"), "--target", "cpu", "-o", path("conv.hone"), "--quiet"}).status, 0);
  for (const auto& [a, b] :
       {std::pair("conv.hone", "conv.onnx"), {"conv.onnx", "conv.hone"}, {"conv.hone", "conv.hone"}})
    EXPECT_EQ(compare({path(a), path(b)}).status, 0) << a << " " << b;
}

TEST_F(CliCompare, NamesTheFirstDrift) {
  const Outcome got =
      compare({path("other.onnx"), path("conv.onnx"), "--target-b", "reference", "--input", "x=1", "--json", "-"});
  EXPECT_EQ(got.status, 1) << got.err;
  const Json result = Json::parse(got.out);
  EXPECT_EQ(result["first_drift"], "fourth");
  EXPECT_FALSE(result["tensors"][0]["drifts"]);
  EXPECT_TRUE(result["tensors"][1]["drifts"]);
  expect_words(compare({path("other.onnx"), path("conv.onnx"), "--input", "x=1"}).out,
               {"first drift: 'fourth'", "n_third"});
  EXPECT_EQ(compare({path("other.onnx"), path("conv.onnx"), "--tolerance", "10"}).status, 0);
}

TEST_F(CliCompare, OptionsOfOneSide) {
  const std::string net = path("conv.onnx");
  EXPECT_EQ(compare({net, "--isa-b", "scalar", "--threads-b", "1", "--no-winograd-a"}).status, 0);
  EXPECT_EQ(compare({"reference", net}).status, 0);
  expect_error({"compare", net}, 2, {"--target-b"});
  expect_error({"compare", "cpu", "reference"}, 2, {"'cpu'", "'reference'"});
  expect_error({"compare", net, path("missing.onnx")}, 2, {"missing.onnx"});
  expect_error({"compare", net, path("net.onnx"), "--target", "cpu"}, 2, {"'x'"});
  expect_error({"compare", net, "onnxruntime", "--isa-b", "scalar"}, 2, {"--isa-b"});
  expect_error({"compare", net, "reference", "--tolerance", "-1"}, 2, {"--tolerance"});
  ASSERT_EQ(hone({"build", net, "--target", "cpu", "-o", path("conv.hone"), "--quiet"}).status, 0);
  expect_error({"compare", path("conv.hone"), "reference"}, 2, {"conv.hone", "the model"});
  expect_error({"compare", path("conv.hone"), net, "--isa-a", "scalar"}, 2, {"conv.hone"});
}

TEST_F(CliCompare, WithoutOnnxRuntime) {
  const auto with = [&](const std::string& python) {
    return std::vector<std::string>{"compare", path("conv.onnx"), "onnxruntime", "--target", "cpu", "--python", python};
  };
  expect_error(with(path("none")), 2, {path("none"), "--python"});
  expect_error(with(fake_python("echo \"ModuleNotFoundError: No module named 'onnxruntime'\" >&2; exit 1")), 2,
               {"No module named 'onnxruntime'", "--python"});
  expect_error(with(fake_python("echo 'RuntimeError: no such op' >&2; exit 1")), 2, {"ONNX Runtime", "no such op"});
  expect_error(with(fake_python("echo nonsense > $3/names.json")), 2, {"--python"});
}

TEST_F(CliCompare, WhatPythonGivesIsCompared) {
  ASSERT_TRUE(write_npy(path("0.npy"), Tensor(DType::f32, {1, 4, 4, 4})).ok());
  const std::string python = fake_python("cp " + path("0.npy") + " $3; echo '[\"second\"]' > $3/names.json");
  const Outcome got = compare({path("conv.onnx"), "onnxruntime", "--python", python, "--input", "x=1", "--json", "-"});
  EXPECT_EQ(got.status, 1) << got.err;
  const Json result = Json::parse(got.out);
  EXPECT_EQ(names(result), std::vector<std::string>{"second"});
  EXPECT_EQ(result["first_drift"], "second");
}

TEST_F(CliCompare, AgreesWithOnnxRuntime) {
  if (!fs::exists(HONE_PEERS_PYTHON)) GTEST_SKIP() << "there is no " << HONE_PEERS_PYTHON << ": run scripts/peers.sh";
  const Json result = json(compare({path("conv.onnx"), "onnxruntime", "--python", HONE_PEERS_PYTHON, "--json", "-"}));
  EXPECT_EQ(names(result), (std::vector<std::string>{"second", "fourth"}));
}

TEST(Difference, Metrics) {
  const float b[] = {3, -4, 0}, a[] = {3, -4, 1};
  const Tensor yardstick = Tensor::of<float>(DType::f32, {3}, b), value = Tensor::of<float>(DType::f32, {3}, a);
  const auto d = tools::difference(value, yardstick);
  ASSERT_TRUE(d);
  EXPECT_DOUBLE_EQ(d->max_abs, 1);
  EXPECT_DOUBLE_EQ(d->mean_abs, 1.0 / 3);
  EXPECT_DOUBLE_EQ(d->snr_db, 10 * std::log10(25.0));
  EXPECT_DOUBLE_EQ(d->cosine, 25 / std::sqrt(25.0 * 26));
  EXPECT_DOUBLE_EQ(d->largest, 4);
  const auto none = tools::difference(value, value);
  EXPECT_EQ(none->max_abs, 0);
  EXPECT_TRUE(std::isinf(none->snr_db));
}

TEST(Difference, ValuesThatAreNotFinite) {
  const float nan = NAN, inf = INFINITY;
  const auto tensor = [](std::vector<float> values) {
    return Tensor::of<float>(DType::f32, {static_cast<int64_t>(values.size())}, values);
  };
  EXPECT_EQ(tools::difference(tensor({nan, inf, 1}), tensor({nan, inf, 1}))->max_abs, 0);
  EXPECT_TRUE(std::isinf(tools::difference(tensor({nan}), tensor({1}))->max_abs));
  EXPECT_TRUE(std::isinf(tools::difference(tensor({inf}), tensor({-inf}))->max_abs));
  EXPECT_FALSE(tools::difference(tensor({1}), tensor({1, 2})));
  EXPECT_FALSE(tools::difference(Tensor::strings({1}, {"a"}), Tensor::strings({1}, {"a"})));
}

}  // namespace
}  // namespace hone
