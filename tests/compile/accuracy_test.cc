#include "compile/accuracy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compile/compile.h"
#include "small_network.h"

namespace hone {
namespace {

Tensor rows(Dims dims, std::vector<float> values) {
  return Tensor::of<float>(DType::f32, std::move(dims), std::span<const float>(values));
}

Distance between(const Tensor& value, const Tensor& wanted) {
  OutputDistance output;
  output.add(value, wanted);
  return output.distance();
}

TEST(OutputDistance, Top1IsTheShareOfPositionsWithAnotherLargest) {
  const Tensor wanted = rows({2, 2, 3}, {1, 2, 3, 3, 2, 1, 0, 5, 0, 7, 7, 1});
  EXPECT_EQ(between(wanted, wanted).top1, 0);
  // The first moves; the last may take either of the two largest.
  EXPECT_EQ(between(rows({2, 2, 3}, {4, 2, 3, 3, 2, 1, 0, 5, 0, 7, 8, 1}), wanted).top1, 0.25);
  EXPECT_EQ(between(rows({2, 2, 3}, {NAN, 2, 3, 3, 2, 1, 0, 5, 0, 7, 8, 1}), wanted).top1, 0.25);
  EXPECT_EQ(between(rows({4, 3}, {1, 2, 3, 3, 2, 1, 0, 5, 0, 7, 7, 1}), wanted).top1, 1);
}

TEST(OutputDistance, ErrorIsRelativeAndOverAllRuns) {
  EXPECT_DOUBLE_EQ(between(rows({2}, {3, 5}), rows({2}, {3, 4})).error, 0.2);
  OutputDistance both;
  both.add(rows({1}, {3}), rows({1}, {3}));
  both.add(rows({1}, {5}), rows({1}, {4}));
  EXPECT_DOUBLE_EQ(both.distance().error, 0.2);
  EXPECT_EQ(between(rows({1}, {0}), rows({1}, {0})).error, 0);
  EXPECT_EQ(between(rows({1}, {1}), rows({1}, {0})).error, INFINITY);
  EXPECT_EQ(between(rows({1}, {NAN}), rows({1}, {1})).error, INFINITY);
  EXPECT_EQ(between(rows({1}, {1}), rows({2}, {1, 1})).error, INFINITY);
}

TEST(AccuracyMetric, HasNames) {
  for (const auto metric : {AccuracyMetric::automatic, AccuracyMetric::top1, AccuracyMetric::error})
    EXPECT_EQ(find_accuracy_metric(name(metric)), metric);
  EXPECT_FALSE(find_accuracy_metric("f1"));
}

TEST(Yardstick, ChoosesTheMetricByTheOutputs) {
  const auto chosen = [](int64_t classes, AccuracyMetric metric) {
    Graph g;
    const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{2, 4})});
    g.add_output(testing::add(g, "MatMul", {}, {x, g.add_constant(testing::random_tensor({4, classes}, 1), "w")}), "y");
    const auto engine = compile_graph(g, {.target = "cpu", .tune = false});
    EXPECT_TRUE(engine.ok());
    return Yardstick::make(*engine, {.metric = metric, .samples = {{testing::random_tensor({2, 4}, 2)}}});
  };
  EXPECT_EQ(chosen(10, AccuracyMetric::automatic)->metric(), AccuracyMetric::top1);
  EXPECT_EQ(chosen(9, AccuracyMetric::automatic)->metric(), AccuracyMetric::error);
  EXPECT_EQ(chosen(9, AccuracyMetric::top1)->metric(), AccuracyMetric::top1);
  EXPECT_EQ(chosen(1, AccuracyMetric::top1).status().code(), Code::invalid);
}

}  // namespace
}  // namespace hone
