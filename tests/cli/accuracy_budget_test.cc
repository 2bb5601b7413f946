// `hone build --accuracy-budget`.
#include <cmath>
#include <random>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

class AccuracyBudget : public Cli {
 protected:
  // Three convolutions. The values that the second reads lie far below what is at one place of a channel, so that one
  // scale for all of them, as TensorRT's cache has, leaves none of their digits: that layer is fragile.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b;
    b.input("x", {1, 8, 6, 6});
    random_weight(b, "w1", {16, 8, 3, 3}, 1);
    b.node("Conv", {"x", "w1"}, {"a"});
    auto& outlier = b.weight("outlier", {1, 16, 1, 1}, false);
    for (int c = 0; c < 16; ++c) outlier.add_float_data(c == 5 ? 10000.f : 1.f);
    b.node("Mul", {"a", "outlier"}, {"b"});
    auto& w2 = random_weight(b, "w2", {16, 16, 1, 1}, 2);
    for (int o = 0; o < 16; ++o) w2.set_float_data(o * 16 + 5, 0.0001f * w2.float_data(o * 16 + 5));
    b.node("Conv", {"b", "w2"}, {"c"});
    b.node("Relu", {"c"}, {"d"});
    random_weight(b, "w3", {12, 16, 1, 1}, 3);
    b.node("Conv", {"d", "w3"}, {"e"});
    b.node("Transpose", {"e"}, {"y"}).add_attribute()->CopyFrom(axes("perm", {0, 2, 3, 1}));
    b.output("y");
    save(b, "conv.onnx");
    Tensor x(DType::f32, {32, 8, 6, 6});
    std::mt19937 random(7);
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<double>(random() % 2001) / 1000 - 1);
    ASSERT_TRUE(write_npy(path("data.npy"), x).ok());
  }

  static onnx::TensorProto& random_weight(ModelBuilder& b, const char* name, std::initializer_list<int64_t> dims,
                                          unsigned seed) {
    auto& t = b.weight(name, dims);
    std::mt19937 random(seed);
    for (float& v : *t.mutable_float_data()) v = static_cast<float>(random() % 2001) / 1000.f - 1.f;
    return t;
  }
  static onnx::AttributeProto axes(const std::string& name, std::initializer_list<int64_t> values) {
    onnx::AttributeProto a;
    a.set_name(name);
    a.set_type(onnx::AttributeProto::INTS);
    for (int64_t v : values) a.add_ints(v);
    return a;
  }

  Outcome build(std::vector<std::string> more) const {
    std::vector<std::string> args{"build", path("conv.onnx"), "--target",       "cpu", "--precision", "int8",
                                  "-o",    path("e.hone"),    "--timing-cache", "none"};
    args.insert(args.end(), more.begin(), more.end());
    return hone(args);
  }
  // With ranges for whole tensors alone.
  Outcome build_by_tensor(std::vector<std::string> more) const {
    EXPECT_EQ(hone({"calibrate", path("conv.onnx"), "--data", path("data.npy"), "-o", path("r.cache"), "--calibrator",
                    "minmax"})
                  .status,
              0);
    for (const char* word : {"--no-tune", "--calibration-cache"}) more.emplace_back(word);
    more.push_back(path("r.cache"));
    return build(std::move(more));
  }
  // The rows of the engine's report, by layer.
  std::map<std::string, nlohmann::json> rows() const {
    const auto report = json(hone({"inspect", path("e.hone"), "--json", "-"}));
    std::map<std::string, nlohmann::json> rows;
    for (const auto& row : report["build"]["precisions"]) rows[row["name"]] = row;
    return rows;
  }
};

TEST_F(AccuracyBudget, AFragileLayerStaysInFloats) {
  const Outcome built =
      build_by_tensor({"--calibrate", path("data.npy"), "--accuracy-budget", "3%", "--accuracy-metric", "error"});
  ASSERT_EQ(built.status, 0) << built.err;
  expect_words(built.out, {"the accuracy budget needs it in floats", "error (as asked for) is", "the budget is 3%"});
  const auto layers = rows();
  ASSERT_EQ(layers.size(), 3u);
  EXPECT_EQ(layers.at("n_a")["precision"], "int8");
  EXPECT_EQ(layers.at("n_c")["precision"], "fp32");
  EXPECT_EQ(layers.at("n_e")["precision"], "int8");
  EXPECT_GT(layers.at("n_a")["sqnr_db"], layers.at("n_c")["sqnr_db"]);
  EXPECT_GT(layers.at("n_c")["range"], 1000);
  // An engine that is built from it needs no data to do the same.
  const Outcome again = hone({"build", "--from-engine", path("e.hone"), "-o", path("f.hone"), "--no-tune"});
  ASSERT_EQ(again.status, 0) << again.err;
  expect_words(again.out, {"not measured again: accuracy: error"});
  const Outcome same = hone({"compare", path("e.hone"), path("f.hone"), "--tolerance", "0"});
  EXPECT_EQ(same.status, 0) << same.out << same.err;
  // On other data than it was judged by.
  const Outcome compared =
      hone({"compare", path("e.hone"), path("conv.onnx"), "--target-b", "reference", "--tolerance", "0.1"});
  EXPECT_EQ(compared.status, 0) << compared.out << compared.err;
}

TEST_F(AccuracyBudget, OfOutputsWithClassesIsTheShareOfOtherDecisions) {
  const Outcome built = build_by_tensor({"--calibrate", path("data.npy"), "--accuracy-budget", "100%"});
  ASSERT_EQ(built.status, 0) << built.err;
  expect_words(built.out, {"top1 (one output of floats, with 12 on its last axis) is"});
  for (const auto& [name, row] : rows()) {
    EXPECT_EQ(row["precision"], "int8") << name;
    EXPECT_TRUE(row["sqnr_db"].is_null()) << name;
  }
}

TEST_F(AccuracyBudget, LeavesNoInt8WhereEveryLayerIsTooMuch) {
  const Outcome built =
      build({"--no-tune", "--calibrate", path("data.npy"), "--accuracy-budget", "0.01%", "--accuracy-metric", "error"});
  ASSERT_EQ(built.status, 0) << built.err;
  expect_words(built.out, {"int8 is not used: the accuracy budget leaves no layer in it"});
  for (const auto& [name, row] : rows()) EXPECT_EQ(row["precision"], "fp32") << name;
}

TEST_F(AccuracyBudget, IsKeptOrRefused) {
  const auto refused = [&](const Outcome& got, const std::vector<std::string>& words) {
    EXPECT_EQ(got.status, 2) << got.out;
    EXPECT_EQ(std::ranges::count(got.err, '\n'), 1) << got.err;
    expect_words(got.err, words);
    EXPECT_FALSE(fs::exists(path("e.hone")));
  };
  refused(build_by_tensor({"--accuracy-budget", "1%"}), {"--accuracy-budget", "--calibrate", "cache"});
  refused(build({"--accuracy-budget", "1%"}), {"--accuracy-budget", "--calibrate"});
  refused(build({"--calibrate", path("data.npy"), "--accuracy-budget", "0.5"}), {"0.5", "percentage"});
  refused(build({"--calibrate", path("data.npy"), "--accuracy-budget", "-1%"}), {"-1%", "percentage"});
  // The kernels' roundings are not the yardstick's.
  refused(build({"--quiet", "--no-tune", "--calibrate", path("data.npy"), "--accuracy-budget", "0%",
                 "--accuracy-metric", "error"}),
          {"cannot be met", "the budget is 0%"});
}

TEST_F(AccuracyBudget, WithTuningTheTimeWonIsReported) {
  const Outcome built = build({"--calibrate", path("data.npy"), "--accuracy-budget", "50%"});
  ASSERT_EQ(built.status, 0) << built.err;
  expect_words(built.out, {"the network takes", "the budget is 50%"});
  for (const auto& [name, row] : rows()) EXPECT_TRUE(row["won_us"].is_number()) << name << row;
}

TEST_F(AccuracyBudget, WarnsOfFewSamples) {
  Tensor x(DType::f32, {3, 8, 6, 6});
  for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::sin(static_cast<double>(i)));
  ASSERT_TRUE(write_npy(path("few.npy"), x).ok());
  const Outcome built = build({"--no-tune", "--calibrate", path("few.npy"), "--accuracy-budget", "50%"});
  ASSERT_EQ(built.status, 0) << built.err;
  expect_words(built.err, {"few.npy: too few samples to keep some back"});
}

}  // namespace
}  // namespace hone
