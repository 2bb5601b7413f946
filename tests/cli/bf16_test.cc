// `hone build --precision bf16` for a CPU: with bf16 where it has such instructions, with fp32 and a word of it
// elsewhere.
#include "kernels/cpu/bf16/bf16.h"

#include <cmath>
#include <random>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

class Bf16 : public Cli {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b;
    b.input("x", {4, 64});
    random_weight(b, "w", {64, 96}, 1);
    b.node("MatMul", {"x", "w"}, {"h"});
    b.node("Relu", {"h"}, {"r"});
    random_weight(b, "v", {96, 32}, 2);
    b.node("MatMul", {"r", "v"}, {"y"});
    b.output("y");
    save(b, "products.onnx");
    Tensor x(DType::f32, {64, 64});
    fill(x, 3);
    ASSERT_TRUE(write_npy(path("data.npy"), x).ok());
  }

  static float uniform(std::mt19937& random) { return static_cast<float>(random() % 2001) / 1000.f - 1.f; }
  static void fill(Tensor& t, unsigned seed) {
    std::mt19937 random(seed);
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, uniform(random));
  }
  static void random_weight(ModelBuilder& b, const char* name, std::initializer_list<int64_t> dims, unsigned seed) {
    std::mt19937 random(seed);
    for (float& v : *b.weight(name, dims).mutable_float_data()) v = uniform(random);
  }

  Outcome build(std::vector<std::string> more, const char* engine = "e.hone") const {
    std::vector<std::string> args{"build", path("products.onnx"), "--target",       "cpu",
                                  "-o",    path(engine),          "--timing-cache", "none"};
    args.insert(args.end(), more.begin(), more.end());
    return hone(args);
  }

  // Products alone: a cast beside them is a layer, too.
  int products_in(const char* precision, const char* engine = "e.hone") const {
    int count = 0;
    const nlohmann::json inspected = json(hone({"inspect", path(engine), "--json", "-"}));
    for (const auto& layer : inspected.at("layers"))
      count += layer.at("precision") == precision && layer.at("tactic").get<std::string>().starts_with("cpu.gemm");
    return count;
  }

  const bool has_ = cpu::best_bf16_set().has_value();
};

TEST_F(Bf16, IsUsedWhereTheCpuHasIt) {
  const Outcome built = build({"--precision", "bf16", "--no-tune"});
  ASSERT_EQ(built.status, 0) << built.err;
  EXPECT_NE(built.out.find(has_ ? "bf16 is used in 2 of 2" : "bf16 is not used"), std::string::npos) << built.out;
  EXPECT_EQ(products_in("bf16"), has_ ? 2 : 0);
  ASSERT_EQ(build({"--precision", "bf16", "--no-tune", "--isa", "avx2"}, "avx2.hone").status, 0);
  EXPECT_EQ(products_in("bf16", "avx2.hone"), 0);
  ASSERT_EQ(build({"--no-tune"}, "fp32.hone").status, 0);
  EXPECT_EQ(products_in("bf16", "fp32.hone"), 0) << "it was not allowed";
}

// On random inputs: no data was given. Where outputs are small differences of large numbers, bf16 leaves little of
// them.
TEST_F(Bf16, TheBuildSaysHowFarOutputsMove) {
  if (!has_) GTEST_SKIP() << "this CPU has no bf16";
  const Outcome near = build({"--precision", "bf16", "--no-tune"});
  EXPECT_NE(near.out.find("bf16 moves the outputs by 0."), std::string::npos) << near.out;
  EXPECT_NE(near.out.find("(RMS) on random inputs\n"), std::string::npos) << near.out;
  EXPECT_EQ(build({"--no-tune"}).out.find("bf16 moves"), std::string::npos);
  ModelBuilder b;
  b.input("x", {4, 64});
  random_weight(b, "w", {64, 96}, 1);
  b.node("MatMul", {"x", "w"}, {"h"});
  for (float& v : *b.weight("thousands", {96}).mutable_float_data()) v = 1000;
  b.node("Add", {"h", "thousands"}, {"sum"});
  auto& differences = *b.weight("u", {96, 32}).mutable_float_data();
  for (int i = 0; i < differences.size(); ++i) differences[i] = i / 32 % 2 == 0 ? 1.f : -1.f;
  b.node("MatMul", {"sum", "u"}, {"y"});
  b.output("y");
  save(b, "products.onnx");
  const Outcome far = build({"--precision", "bf16", "--no-tune"});
  EXPECT_NE(far.out.find("on random inputs, which is much: --accuracy-budget"), std::string::npos) << far.out;
}

// Two products with factors of 8 bits: near to fp32, but farther than fp32 is from itself.
TEST_F(Bf16, ResultsAreNearAndNotThoseOfFp32) {
  if (!has_) GTEST_SKIP() << "this CPU has no bf16";
  ASSERT_EQ(build({"--precision", "bf16", "--no-tune"}).status, 0);
  const auto distance = [&](const std::string& engine) {
    double worst = 0;
    const nlohmann::json compared =
        json(hone({"compare", engine, path("products.onnx"), "--tolerance", "1", "--json", "-"}));
    for (const auto& tensor : compared.at("tensors")) worst = std::max(worst, tensor.at("max_abs").get<double>());
    return worst;
  };
  const double bf16 = distance(path("e.hone"));
  EXPECT_GT(bf16, 1e-3);
  EXPECT_LT(bf16, 1);  // of values of some 30
}

TEST_F(Bf16, GivesWayToAnAccuracyBudget) {
  const std::vector<std::string> budget{
      "--precision",       "bf16",  "--no-tune",        "--calibrate", path("data.npy"),
      "--accuracy-metric", "error", "--accuracy-budget"};
  const auto within = [&](const char* most) {
    auto args = budget;
    args.emplace_back(most);
    return build(args);
  };
  const Outcome wide = within("5%");
  ASSERT_EQ(wide.status, 0) << wide.err;
  EXPECT_EQ(products_in("bf16"), has_ ? 2 : 0);
  const Outcome narrow = within("0.01%");
  ASSERT_EQ(narrow.status, 0) << narrow.err;
  EXPECT_EQ(products_in("bf16"), 0);
  EXPECT_EQ(narrow.out.find("no fp16, bf16 or tf32 is used") != std::string::npos, has_) << narrow.out;
}

TEST_F(Bf16, TimingsOfFp32AreNotTaken) {
  if (!has_) GTEST_SKIP() << "this CPU has no bf16";
  const auto timed = [&](const char* precision) {
    const Outcome built = hone({"build", path("products.onnx"), "--target", "cpu", "-o", path("e.hone"),
                                "--timing-cache", path("cache.json"), "--precision", precision, "--json", "-"});
    EXPECT_EQ(built.status, 0) << built.err;
    return json(built).at("build").at("tactics_timed").get<int>();
  };
  EXPECT_GT(timed("fp32"), 0);
  EXPECT_GT(timed("bf16"), 0);
  EXPECT_EQ(timed("bf16"), 0);
  EXPECT_EQ(timed("fp32"), 0);
}

}  // namespace
}  // namespace hone
