#include "calibrate/calibrate.h"

#include "calibrate/cache.h"
#include "calibrate/observed_model.h"
#include "calibrate/residual_block.h"
#include "import/onnx/model.h"

namespace hone::calibrate {
namespace {

using testing::ModelBuilder;

class Calibrate : public ResidualBlock {
 protected:
  std::vector<std::string> expect_what_the_source_has(const Report& report) const;
};

// Every tensor of the source by the reference, against what was observed in the optimised network.
std::vector<std::string> Calibrate::expect_what_the_source_has(const Report& report) const {
  std::map<std::string, Statistics> wanted;
  for (const Tensor& x : samples_) {
    const auto graph = import_onnx_file(path_(), {.shapes = {{"x", x.dims()}}});
    EXPECT_TRUE(graph.ok());
    wanted["x"].observe(x, 1);
    const auto see = [&](NodeId id, std::span<const Tensor> outputs) {
      for (size_t i = 0; i < outputs.size(); ++i)
        wanted[graph->value(graph->node(id).outputs[i]).name].observe(
            outputs[i], outputs[i].rank() > 2 ? 1 : outputs[i].rank() - 1);
    };
    EXPECT_TRUE(interpret(*graph, std::vector{x}, see).ok());
  }
  std::vector<std::string> names;
  for (const TensorReport& t : report.tensors) {
    names.push_back(t.name);
    const Statistics &got = t.statistics, &want = wanted.at(t.name);
    const double near = 1e-5 * std::max(100.0, want.largest());  // sums of some hundred products, in another order
    EXPECT_EQ(got.magnitudes.total(), want.magnitudes.total()) << t.name;
    EXPECT_NEAR(got.low, want.low, near) << t.name;
    EXPECT_NEAR(got.high, want.high, near) << t.name;
    EXPECT_NEAR(got.mean(), want.mean(), near / 10) << t.name;
    EXPECT_NEAR(got.deviation(), want.deviation(), near) << t.name;
    EXPECT_EQ(got.channels.low.size(), want.channels.low.size()) << t.name;
    for (size_t c = 0; c < std::min(got.channels.low.size(), want.channels.low.size()); ++c) {
      EXPECT_NEAR(got.channels.low[c], want.channels.low[c], near) << t.name << c;
      EXPECT_NEAR(got.channels.mean(c), want.channels.mean(c), near / 10) << t.name << c;
    }
    EXPECT_NEAR(t.range.threshold(), want.largest(), near);
    EXPECT_EQ(t.calibrator, "minmax");
  }
  return names;
}

TEST_F(Calibrate, SeesTheTensorsOfTheSource) {
  const auto report = run(batches_of(3), {.calibrator = "minmax"});
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->samples, 12);
  const auto names = expect_what_the_source_has(*report);
  EXPECT_EQ(names, (std::vector<std::string>{"x", "c1", "r1", "c2", "sum", "pooled", "flat", "y"}));
  EXPECT_EQ(tensor(*report, "c1").node, "node 'n_c1' (Conv)");
  EXPECT_EQ(*tensors_of(path_(), {}), names);
}

// Parts of a Concat and of a Split, a view, a tensor that nothing reads and one that is read much later: each is seen
// when it is whole, before its memory is used again.
TEST_F(Calibrate, SeesTensorsThatShareMemory) {
  ModelBuilder m;
  m.input("x", {1, 3, 8, 8});
  m.weight("w1", {8, 3, 1, 1});
  m.weight("w2", {8, 8, 1, 1});
  m.node("Conv", {"x", "w1"}, {"a"});
  m.node("Relu", {"a"}, {"b"});
  m.node("Conv", {"b", "w2"}, {"c"});
  m.node("Sigmoid", {"c"}, {"unread"});
  ModelBuilder::attr(m.node("Concat", {"c", "b"}, {"joined"}), "axis", onnx::AttributeProto::INT).set_i(1);
  auto& split = m.node("Split", {"joined"}, {"lower", "upper"});
  ModelBuilder::attr(split, "axis", onnx::AttributeProto::INT).set_i(1);
  ModelBuilder::attr(split, "num_outputs", onnx::AttributeProto::INT).set_i(2);
  m.node("Mul", {"lower", "upper"}, {"product"});
  m.node("Add", {"product", "a"}, {"sum"});
  m.node("Flatten", {"sum"}, {"rows"});
  m.weight("w4", {512, 5});
  m.node("MatMul", {"rows", "w4"}, {"y"});
  m.output("y");
  m.output("unread");
  save(m);
  for (const int threads : {1, 3}) {
    CompileOptions options;
    options.threads = threads;
    const auto report = run(batches_of(1), {.calibrator = "minmax", .compile = options});
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_GE(expect_what_the_source_has(*report).size(), 10u);
  }
}

// A view of the input is that of the run's own input, the first time as the last.
TEST_F(Calibrate, SeesViewsOfTheInput) {
  ModelBuilder m;
  m.input("x", {1, 3, 8, 8});
  m.weight("w", {192, 5});
  m.node("Flatten", {"x"}, {"rows"});
  m.node("MatMul", {"rows", "w"}, {"y"});
  m.output("y");
  save(m);
  const auto report = run(batches_of(1), {.calibrator = "minmax"});
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(expect_what_the_source_has(*report), (std::vector<std::string>{"x", "rows", "y"}));
}

TEST_F(Calibrate, DoesNotDependOnOrderOrBatches) {
  for (const char* calibrator : {"entropy", "percentile", "mse", "minmax", "legacy"}) {
    const auto whole = run(batches_of(12), {.calibrator = calibrator, .rows = 0});
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    auto shuffled = batches_of(1);
    std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(7));
    for (const auto& data : {batches_of(4), shuffled}) {
      const auto other = run(data, {.calibrator = calibrator});
      ASSERT_TRUE(other.ok());
      for (size_t k = 0; k < whole->tensors.size(); ++k) {
        const auto &a = whole->tensors[k], &b = other->tensors[k];
        EXPECT_NEAR(a.range.threshold(), b.range.threshold(), a.statistics.magnitudes.width())
            << calibrator << " " << a.name;
      }
    }
  }
}

TEST_F(Calibrate, ASecondRunWritesTheSameBytes) {
  for (const CacheFormat& format : cache_formats())
    EXPECT_EQ(format.write(run(batches_of(6), {.calibrator = "auto"})->table),
              format.write(run(batches_of(6), {.calibrator = "auto"})->table));
}

// w1 has an outlier channel in its input: clipping it would ruin the layer, although hardly any value is that large.
TEST_F(Calibrate, AutoLooksAtTheLayerThatReads) {
  ModelBuilder m;
  m.input("x", {1, 2, 64, 64});
  auto& w = m.weight("w", {1, 2, 1, 1}, false);
  w.add_float_data(1e-3f);
  w.add_float_data(1);
  m.node("Conv", {"x", "w"}, {"y"});
  m.output("y");
  save(m);
  // Channel 0 is large and hardly counts, channel 1 is small and counts.
  Tensor x = random({1, 2, 64, 64}, 1);
  for (int64_t i = 0; i < 4096; ++i) x.mutable_data<float>()[i] = i % 4000 == 0 ? 300.f : 0.f;
  const auto report = run({{x}, {x}}, {.calibrator = "auto"});
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_LT(tensor(*report, "x").range.threshold(), 10);
  EXPECT_EQ(run({{x}, {x}}, {.calibrator = "minmax"})->tensors[0].range.threshold(), 300);
  EXPECT_GT(run({{x}, {x}}, {.calibrator = "mse"})->tensors[0].range.threshold(), 100);
}

TEST_F(Calibrate, ShapesMayChangeBetweenSamples) {
  save_convolution_of_open_dims();
  const auto report = run(squares({4, 5, 6, 7, 8, 4, 8}));
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(tensor(*report, "x").statistics.magnitudes.total(), 16u + 25 + 36 + 49 + 64 + 16 + 64);
}

TEST_F(Calibrate, BadDataIsRefused) {
  refuses(run({}), {"no calibration data"});
  refuses(run({{random({1, 3, 8, 9}, 1)}}), {"sample 0", "'x'", "[1,3,8,9]"});
  Tensor bad = random({1, 3, 8, 8}, 1);
  bad.set(0, INFINITY);
  refuses(run({{samples_[0]}, {bad}}), {"sample 1", "'x'", "inf"});
  refuses(run(batches_of(1), {.calibrator = "magic"}), {"'magic'", "entropy", "auto"});
  refuses(run(batches_of(1), {.parameters = {.percentile = 0}}), {"percentile"});
  const auto cancelled = run(batches_of(1), {.progress = [](size_t done, size_t) { return done < 2; }});
  EXPECT_EQ(cancelled.status().code(), Code::cancelled);
  EXPECT_EQ(run(batches_of(1), {.limit = 3})->samples, 3);
}

TEST_F(Calibrate, ATensorThatBecomesNanIsNamed) {
  ModelBuilder m;
  m.input("x", {1, 4});
  m.weight("w", {4, 4});
  m.node("MatMul", {"x", "w"}, {"h"});
  m.node("Sqrt", {"h"}, {"root"});
  m.node("Mul", {"root", "x"}, {"y"});
  m.output("y");
  save(m);
  refuses(run({{Tensor::of<float>(DType::f32, {1, 4}, std::vector<float>{1, 1, 1, 1})}}),
          {"sample 0", "'root'", "n_root", "NaN"});
}

TEST_F(Calibrate, ANetworkWithoutFloatsIsRefused) {
  ModelBuilder m;
  m.input("x", {1, 4}, onnx::TensorProto::INT64);
  m.node("Neg", {"x"}, {"y"});
  m.output("y");
  save(m);
  const auto got = run({{Tensor(DType::i64, {1, 4})}});
  refuses(got, {"net.onnx", "no tensor to calibrate"});
  EXPECT_EQ(got.status().code(), Code::unsupported);
}

TEST_F(Calibrate, WarnsOfWhatMakesRangesDoubtful) {
  ModelBuilder m;
  m.input("x", {1, 2, 40, 40});
  m.weight("w", {3, 2, 1, 1});
  m.weight("zero", {1}, false).add_float_data(0);
  m.node("Conv", {"x", "w"}, {"c"});
  m.node("Mul", {"c", "zero"}, {"nothing"});
  m.node("Div", {"c", "nothing"}, {"infinite"});
  m.output("infinite");
  save(m);
  Tensor x = random({1, 2, 40, 40}, 3);
  for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::fabs(x.at(i)) + 1);
  for (int64_t i = 0; i < 1600; ++i) x.set(i, 2);
  const auto report = run({{x}});
  ASSERT_TRUE(report.ok()) << report.status().message();
  const auto warned = [&](std::vector<std::string> words) {
    return std::ranges::any_of(report->warnings, [&](const std::string& line) {
      return std::ranges::all_of(words, [&](const std::string& word) { return line.find(word) != std::string::npos; });
    });
  };
  EXPECT_TRUE(warned({"only one sample"}));
  EXPECT_TRUE(warned({"same value", "'nothing'"}));
  EXPECT_TRUE(warned({"never change", "'x' (1 of 2, the first is 0)"}));
  EXPECT_TRUE(warned({"infinite", "'infinite'"}));
  EXPECT_EQ(tensor(*report, "nothing").range, (TensorRange{"nothing", 0, 1}));
  EXPECT_EQ(tensor(*report, "infinite").calibrator, "");
  EXPECT_EQ(std::ranges::find(report->table.ranges, "infinite", &TensorRange::name), report->table.ranges.end());
  const auto noise = run({{random({1, 2, 40, 40}, 3)}, {random({1, 2, 40, 40}, 4)}}, {.calibrator = "minmax"});
  ASSERT_TRUE(noise.ok());
  EXPECT_TRUE(std::ranges::any_of(noise->warnings,
                                  [](const std::string& line) { return line.find("random") != std::string::npos; }));
}

}  // namespace
}  // namespace hone::calibrate
