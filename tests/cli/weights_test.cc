// Weights alone in 4 or 8 bits: `hone quantize --weights` and `hone build --weights`.
#include <cmath>
#include <random>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

using Json = nlohmann::json;

class Weights : public Cli {
 protected:
  // MatMul and Gemm in either form, one matrix that is too small, one used twice.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b(21);
    b.input("x", {3, 200});
    vary(b.weight("w1", {200, 160}), 1);
    b.node("MatMul", {"x", "w1"}, {"h1"});
    vary(b.weight("w2", {150, 160}), 2);
    vary(b.weight("b2", {150}), 3);
    auto& gemm = b.node("Gemm", {"h1", "w2", "b2"}, {"h2"});
    ModelBuilder::attr(gemm, "transB", onnx::AttributeProto::INT).set_i(1);
    ModelBuilder::attr(gemm, "alpha", onnx::AttributeProto::FLOAT).set_f(0.5f);
    vary(b.weight("w3", {150, 150}), 4);
    b.node("MatMul", {"h2", "w3"}, {"h3"});
    b.node("MatMul", {"h3", "w3"}, {"h4"});
    vary(b.weight("w4", {150, 7}), 5);
    b.node("MatMul", {"h4", "w4"}, {"y"});
    b.output("y");
    ModelBuilder::value(b.graph().mutable_output(0), "y", {3, 7});
    save(b, "net.onnx");
    Tensor x(DType::f32, {3, 200});
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::sin(0.37 * static_cast<double>(i)));
    ASSERT_TRUE(write_npy(path("x.npy"), x).ok());
  }

  static void vary(onnx::TensorProto& weights, unsigned seed) {
    std::mt19937 gen(seed);
    for (float& w : *weights.mutable_float_data()) w = static_cast<float>(gen() % 2001) / 10000 - 0.1f;
  }

  Tensor result_of(const std::string& model) {
    const Outcome got = hone({"run", path(model), "--target", "cpu", "--no-tune", "--input", "x=" + path("x.npy"),
                              "--output-dir", path("out")});
    EXPECT_EQ(got.status, 0) << got.err;
    const auto y = read_npy(path("out/y.npy"));
    EXPECT_TRUE(y.ok()) << y.status().message();
    return y.ok() ? *y : Tensor();
  }

  static double relative_error(const Tensor& got, const Tensor& want) {
    double error = 0, signal = 0;
    for (int64_t i = 0; i < want.count(); ++i) {
      error += std::pow(got.at(i) - want.at(i), 2);
      signal += std::pow(want.at(i), 2);
    }
    return std::sqrt(error / signal);
  }
};

TEST_F(Weights, AreWrittenAsOnnx) {
  const Tensor floats = result_of("net.onnx");
  for (const char* format : {"int4", "int8"}) {
    const Json made =
        json(hone({"quantize", path("net.onnx"), "--weights", format, "-o", path("small.onnx"), "--json", "-"}));
    ASSERT_EQ(made["weights"].size(), 5u) << made.dump();
    for (const auto& w : made["weights"]) {
      const bool small = w["name"] == "n_y";
      EXPECT_EQ(w["reason"], small ? "less than 65536 bytes" : "") << w.dump();
      if (small) continue;
      EXPECT_GT(w["sqnr_db"], std::string_view(format) == "int4" ? 15 : 40) << w.dump();
      EXPECT_LT(w["bytes_after"].get<double>(), w["bytes_before"].get<double>() / 3) << w.dump();
    }
    EXPECT_LT(fs::file_size(path("small.onnx")), fs::file_size(path("net.onnx")) / 3);
    // Four layers, each with some 23 dB, or 48.
    EXPECT_LT(relative_error(result_of("small.onnx"), floats), std::string_view(format) == "int4" ? 0.3 : 0.03);
    if (fs::exists(HONE_PEERS_PYTHON)) {
      const Outcome same = hone({"compare", path("small.onnx"), "onnxruntime", "--python", HONE_PEERS_PYTHON,
                                 "--target", "cpu", "--no-tune", "--input", "x=" + path("x.npy")});
      EXPECT_EQ(same.status, 0) << same.out << same.err;
    }
  }
}

// A build from the model and from an engine with floats give the same; from the ONNX file with small weights, whose
// scales are all above 0, something that is a little further from floats.
TEST_F(Weights, AreTheSameInAnEngine) {
  const auto build = [&](std::vector<std::string> args, const char* engine) {
    args.insert(args.begin(), "build");
    args.insert(args.end(), {"--target", "cpu", "--no-tune", "-o", path(engine), "--json", "-"});
    return json(hone(args));
  };
  const Json direct = build({path("net.onnx"), "--weights", "int4", "--block", "64"}, "direct.hone");
  EXPECT_EQ(direct["weights"].size(), 5u);
  expect_words(direct["build"]["notes"].dump(), {"4 of 5 matrices in int4, by blocks of 64"});
  ASSERT_EQ(hone({"quantize", path("net.onnx"), "--weights", "int4", "--block", "64", "-o", path("small.onnx")}).status,
            0);
  build({path("small.onnx")}, "from-onnx.hone");
  build({path("net.onnx")}, "floats.hone");
  build({"--from-engine", path("floats.hone"), "--weights", "int4", "--block", "64"}, "from-engine.hone");
  build({"--from-engine", path("direct.hone")}, "again.hone");
  EXPECT_LT(fs::file_size(path("direct.hone")), fs::file_size(path("floats.hone")) / 3);
  const Tensor want = result_of("direct.hone");
  // alpha is in the weights of one and behind the product of the other.
  for (const char* other : {"from-engine.hone", "again.hone"})
    EXPECT_LT(relative_error(result_of(other), want), 1e-5) << other;
  const Tensor floats = result_of("floats.hone");
  const double direct_error = relative_error(want, floats),
               onnx_error = relative_error(result_of("from-onnx.hone"), floats);
  EXPECT_LT(direct_error, onnx_error);
  EXPECT_LT(onnx_error, 1.3 * direct_error);
}

TEST_F(Weights, AreNotRoundedForWhatIsNotFinite) {
  ModelBuilder b;
  b.input("x", {3, 200});
  vary(b.weight("w1", {200, 160}), 1);
  b.weight("zero", {160}).set_float_data(7, NAN);
  vary(b.weight("w2", {160, 160}), 2);
  b.node("MatMul", {"x", "w1"}, {"h"});
  b.node("Add", {"h", "zero"}, {"sum"});
  b.node("MatMul", {"sum", "w2"}, {"y"});
  b.output("y");
  save(b, "broken.onnx");
  expect_error({"build", path("broken.onnx"), "--weights", "int4", "--calibrate", path("x.npy"), "--no-tune",
                "--target", "cpu", "-o", path("e.hone")},
               2, {"broken.onnx", "tensor 'sum' holds NaN or infinite values"});
  EXPECT_FALSE(fs::exists(path("e.hone")));
}

// Inputs whose elements go together, as those of layers do: rounding for them halves the error and more on others of
// the same kind.
TEST_F(Weights, AreRoundedForData) {
  std::mt19937 gen(9);
  std::normal_distribution<float> dist;
  std::vector<float> mixing(8 * 200);
  for (float& m : mixing) m = dist(gen);
  const auto draw = [&](const std::string& file, int64_t rows) {
    Tensor x(DType::f32, {rows, 200});
    for (int64_t r = 0; r < rows; ++r) {
      float sources[8];
      for (float& s : sources) s = dist(gen);
      for (int64_t c = 0; c < 200; ++c) {
        float& value = x.mutable_data<float>()[r * 200 + c];
        value = 0.1f * dist(gen);
        for (int64_t s = 0; s < 8; ++s) value += sources[s] * mixing[static_cast<size_t>(s * 200 + c)];
      }
    }
    ASSERT_TRUE(write_npy(file, x).ok());
  };
  fs::create_directory(path("data"));
  for (int k = 0; k < 64; ++k) draw(path(fmt::format("data/{}.npy", k)), 3);
  draw(path("x.npy"), 3);
  const Tensor floats = result_of("net.onnx");
  const auto error_of = [&](std::vector<std::string> more) {
    std::vector<std::string> args{"build", path("net.onnx"), "--weights", "int4",         "--target",
                                  "cpu",   "--no-tune",      "-o",        path("e.hone"), "--quiet"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome built = hone(args);
    EXPECT_EQ(built.status, 0) << built.err;
    return relative_error(result_of("e.hone"), floats);
  };
  EXPECT_LT(error_of({"--calibrate", path("data")}), 0.5 * error_of({}));
}

TEST_F(Weights, WhatCannotBeIsNamed) {
  const std::string out = path("small.onnx");
  expect_error({"quantize", path("net.onnx"), "--weights", "int4", "--block", "24", "-o", out}, 2, {"blocks of 24"});
  expect_error({"build", path("net.onnx"), "--weights", "int4", "--block", "24", "-o", path("e.hone")}, 2,
               {"blocks of 24"});
  expect_error({"quantize", path("net.onnx"), "--weights", "int8", "--calibrate", path("x.npy"), "-o", out}, 2,
               {"--weights takes no data here"});
  ModelBuilder old(20);
  old.input("x", {3, 200});
  old.weight("w", {200, 200});
  old.node("MatMul", {"x", "w"}, {"y"});
  old.output("y");
  save(old, "old.onnx");
  expect_error({"quantize", path("old.onnx"), "--weights", "int4", "-o", out}, 3, {"is of opset 20", "need 21"});
  ModelBuilder tiny(21);
  tiny.input("x", {3, 20});
  tiny.weight("w", {20, 20});
  tiny.node("MatMul", {"x", "w"}, {"y"});
  tiny.output("y");
  save(tiny, "tiny.onnx");
  expect_error({"quantize", path("tiny.onnx"), "--weights", "int4", "-o", out}, 3, {"no matrix becomes int4"});
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace hone
