#include <gtest/gtest.h>
#include <hone/hone.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "api/tiny_model.h"

using hone::BuildOptions;
using hone::Code;
using hone::DType;
using hone::TensorView;
using namespace hone_test;

namespace {

class Api : public testing::Test {
 protected:
  hone::Engine build(const std::string& content = add_relu(), BuildOptions options = {}) {
    options.threads = 1;
    return hone::build(folder.write("tiny.onnx", content), options).value();
  }

  TempFolder folder;
};

constexpr float kX[] = {-1, 2, -3, 4}, kB[] = {0.5f, 0.5f, 5, -5}, kY[] = {0, 2.5f, 2, 0};

void bind_and_run(hone::Context& context) {
  ASSERT_TRUE(context.bind("x", TensorView::of(kX, {1, 4})).ok());
  ASSERT_TRUE(context.bind("b", TensorView::of(kB, {4})).ok());
  const hone::Status status = context.run();
  ASSERT_TRUE(status.ok()) << status.message();
}

TEST_F(Api, BuildsAndDescribes) {
  const hone::Engine engine = build();
  ASSERT_EQ(engine.inputs().size(), 2u);
  EXPECT_EQ(engine.inputs()[0].name, "x");
  EXPECT_EQ(engine.inputs()[0].dims, (hone::Dims{1, 4}));  // an open leading dim is 1
  EXPECT_EQ(engine.outputs()[0].dtype, DType::f32);
  EXPECT_EQ(engine.target(), "cpu");
  EXPECT_GE(engine.memory().arena, engine.memory().lower_bound);
  EXPECT_NE(engine.inspect_json().find("\"arena_bytes\""), std::string::npos);
}

TEST_F(Api, RunsAfterSaveAndLoad) {
  ASSERT_TRUE(build().save(folder / "tiny.hone").ok());
  hone::Context context = hone::Engine::load(folder / "tiny.hone").value().create_context();  // outlives the engine
  bind_and_run(context);
  const TensorView y = context.output("y").value();
  ASSERT_EQ(y.dims, (hone::Dims{1, 4}));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(y.as<const float>()[i], kY[i]);
}

TEST_F(Api, BuildsAgainFromAnEngine) {
  const std::string first = folder / "tiny.hone", second = folder / "again.hone";
  ASSERT_TRUE(build().save(first).ok());
  // An engine that was loaded is saved with all that its file holds.
  ASSERT_TRUE(hone::Engine::load(first).value().save(second).ok());
  const hone::Engine again = hone::build(second, {.isa = "scalar"}).value();
  EXPECT_NE(again.device().find("tier 0 threads 1"), std::string::npos) << again.device();
  hone::Context context = again.create_context();
  bind_and_run(context);
  const TensorView y = context.output("y").value();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(y.as<const float>()[i], kY[i]);

  EXPECT_EQ(hone::build(second, {.shapes = {{"x", {2, 4}}}}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(second, {.precisions = {hone::Precision::int8}}).status().code(), Code::invalid);
  ASSERT_TRUE(build(add_relu(), {.portable = false}).save(first).ok());
  const hone::Status status = hone::build(first).status();
  EXPECT_EQ(status.code(), Code::invalid);
  EXPECT_NE(status.message().find("no portable graph"), std::string::npos) << status.message();
}

TEST_F(Api, ReadsInputsInPlaceAndCopiesBoundOutputs) {
  hone::Context context = build().create_context();
  float x[] = {1, 1, 1, 1};
  float out[5] = {0, 0, 0, 0, 42};
  ASSERT_TRUE(context.bind("y", TensorView::of(out, {1, 4})).ok());
  ASSERT_TRUE(context.bind("x", TensorView::of(x, {1, 4})).ok());
  ASSERT_TRUE(context.bind("b", TensorView::of(kB, {4})).ok());
  ASSERT_TRUE(context.run().ok());
  EXPECT_EQ(out[2], 6);
  x[2] = 10;  // refilled, not bound again
  ASSERT_TRUE(context.run().ok());
  EXPECT_EQ(out[2], 15);
  EXPECT_EQ(out[4], 42);
  ASSERT_TRUE(context.bind("y", TensorView()).ok());
  x[2] = 0;
  ASSERT_TRUE(context.enqueue().ok());
  EXPECT_EQ(out[2], 15);
}

TEST_F(Api, RefusesWhatDoesNotFit) {
  hone::Context context = build().create_context();
  const auto refused = [&](const char* name, const TensorView& view) { return context.bind(name, view).code(); };
  EXPECT_EQ(refused("z", TensorView::of(kX, {1, 4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView::of(kX, {4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView::of(kX, {1, -4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView(DType::i32, kX, {1, 4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView(static_cast<DType>(99), kX, {1, 4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView(DType::f32, nullptr, {1, 4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView(DType::f32, reinterpret_cast<const char*>(kX) + 1, {1, 4})), Code::invalid);
  EXPECT_EQ(refused("x", TensorView(DType::f32, kX, std::vector<int64_t>(20, 1))), Code::invalid);
  EXPECT_EQ(refused("x", TensorView(DType::f32, kX, {int64_t{1} << 62, 8})), Code::invalid);
  float small[2];
  EXPECT_EQ(refused("y", TensorView::of(small, {2})), Code::invalid);
  EXPECT_EQ(context.run().code(), Code::invalid);
  EXPECT_EQ(context.output("y").status().code(), Code::invalid);
  EXPECT_EQ(context.enqueue(&context).code(), Code::unsupported);
}

TEST_F(Api, ReportsErrors) {
  EXPECT_EQ(hone::build(folder / "none.onnx").status().code(), Code::invalid);
  EXPECT_EQ(hone::Engine::load(folder / "none.hone").status().code(), Code::invalid);
  EXPECT_EQ(hone::Engine::load(folder.write("bad.hone", "HONEENG\n and then nothing")).status().code(), Code::invalid);
  EXPECT_THROW(hone::Engine::load(folder / "none.hone").value(), hone::Error);
  EXPECT_EQ(hone::Engine().save(folder / "x").code(), Code::invalid);
  EXPECT_EQ(hone::Engine().create_context().run().code(), Code::invalid);
  const std::string path = folder.write("tiny.onnx", add_relu());
  EXPECT_EQ(hone::build(path, {.target = "abacus"}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(path, {.target = "cpu", .precisions = {hone::Precision::fp8}}).status().code(),
            Code::unsupported);
  EXPECT_EQ(hone::build(path, {.precisions = {hone::Precision::int8}}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(path, {.precisions = {static_cast<hone::Precision>(9)}}).status().code(), Code::invalid);
  const auto fp16 = hone::build(path, {.target = "cpu", .precisions = {hone::Precision::fp16}, .tune = false});
  ASSERT_TRUE(fp16.ok()) << fp16.status().message();
  EXPECT_NE(fp16->inspect_json().find("fp16 is not used"), std::string::npos);
  EXPECT_EQ(hone::build(path, {.shapes = {{"q", {1, 4}}}}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(path, {.shapes = {{"x", {-1, 4}}}}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(path, {.isa = "mmx"}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(path, {.time_budget_s = NAN}).status().code(), Code::invalid);
  EXPECT_EQ(hone::build(path, {.progress = [](size_t, size_t, std::string_view) { return false; }}).status().code(),
            Code::cancelled);
}

TEST_F(Api, TakesShapes) {
  BuildOptions options;
  options.shapes["x"] = {3, 4};
  EXPECT_EQ(build(add_relu(), options).outputs()[0].dims, (hone::Dims{3, 4}));
}

TEST_F(Api, HandsStringsInAndOut) {
  const hone::Engine engine =
      build(model({node("Identity", {"s"}, "t")}, {value_info("s", kString, {2})}, {value_info("t", kString, {2})}));
  hone::Context context = engine.create_context();
  const char* const text[] = {"sharp", "edge"};
  ASSERT_TRUE(context.bind("s", TensorView::of(text, {2})).ok());
  ASSERT_TRUE(context.run().ok());
  const TensorView t = context.output("t").value();
  ASSERT_EQ(t.dtype, DType::string);
  EXPECT_STREQ(t.as<const char*>()[1], "edge");
}

TEST_F(Api, EightContextsOfAnEngineGiveTheSameBitsAtOnce) {
  constexpr int64_t kRows = 512, kValues = kRows * 16;
  const std::string path = folder / "shared.hone";
  ASSERT_TRUE(hone::build(folder.write("product.onnx", product()), {.shapes = {{"x", {kRows, 16}}}, .threads = 2})
                  .value()
                  .save(path)
                  .ok());
  const hone::Engine engine = hone::Engine::load(path).value();
  std::vector<float> x(kValues);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) / 100 - 1;
  const auto run = [&](hone::Context& context, std::vector<float>& y) {
    y.assign(kValues, NAN);
    return context.run().ok();
  };
  const auto bound = [&](std::vector<float>& y) {
    hone::Context context = engine.create_context();
    y.resize(kValues);
    EXPECT_TRUE(context.bind("x", TensorView::of(x.data(), {kRows, 16})).ok());
    EXPECT_TRUE(context.bind("y", TensorView::of(y.data(), {kRows, 16})).ok());
    return context;
  };
  std::vector<float> want;
  hone::Context alone = bound(want);
  ASSERT_TRUE(run(alone, want));
  ASSERT_GT(*std::max_element(want.begin(), want.end()), 0);
  std::atomic<int> different{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      std::vector<float> y;
      hone::Context context = bound(y);
      for (int i = 0; i < 50; ++i)
        different += !run(context, y) || std::memcmp(y.data(), want.data(), kValues * sizeof(float)) != 0;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(different, 0);
}

TEST_F(Api, Profiles) {
  hone::Context context = build().create_context();
  size_t steps = 0;
  ASSERT_TRUE(context.set_profiler([&](size_t, double us) { steps += us >= 0; }).ok());
  bind_and_run(context);
  EXPECT_GT(steps, 0u);
}

}  // namespace
