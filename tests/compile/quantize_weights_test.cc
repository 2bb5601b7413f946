#include "backends/quantize_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backends/channel_factors.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

Tensor normal(Dims dims, unsigned seed) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 gen(seed);
  std::normal_distribution<float> dist(0, 0.05f);
  for (int64_t i = 0; i < t.count(); ++i) t.mutable_data<float>()[i] = dist(gen);
  return t;
}

double squared_error(const Tensor& weights, const RoundedWeights& rounded, size_t axis, int64_t block) {
  const int64_t rows = rounded.values.dims()[0], columns = rounded.values.dims()[1], blocks = rounded.scales.dims()[1];
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      const double w = weights.at(axis == 1 ? r * columns + c : c * rows + r);
      const double e = w - rounded.values.at(r * columns + c) * rounded.scales.at(r * blocks + c / block);
      sum += e * e;
    }
  return sum;
}

// The scale of each block is no worse than that which clips nothing.
TEST(QuantizeWeights, ScalesBeatThoseOfTheLargestWeight) {
  for (const size_t axis : {size_t{0}, size_t{1}})
    for (const WeightFormat format : {WeightFormat{4, 32}, WeightFormat{4, 128}, WeightFormat{8, 32}}) {
      const Tensor weights = normal(axis == 1 ? Dims{24, 200} : Dims{200, 24}, 7);
      const RoundedWeights rounded = round_weights(weights, axis, format);
      ASSERT_EQ(rounded.values.dims(), (Dims{24, 200}));
      const int64_t blocks = (200 + format.block - 1) / format.block;
      ASSERT_EQ(rounded.scales.dims(), (Dims{24, blocks}));
      const double top = format.bits == 4 ? 7 : 127;
      double plain = 0, signal = 0;
      for (int64_t r = 0; r < 24; ++r)
        for (int64_t b = 0; b < blocks; ++b) {
          std::vector<double> block;
          for (int64_t c = b * format.block; c < std::min<int64_t>(200, (b + 1) * format.block); ++c)
            block.push_back(weights.at(axis == 1 ? r * 200 + c : c * 24 + r));
          double largest = 0;
          for (const double w : block) largest = std::max(largest, std::fabs(w));
          for (const double w : block) {
            const double e = w - std::nearbyint(w / largest * top) * largest / top;
            plain += e * e;
            signal += w * w;
          }
        }
      const double error = squared_error(weights, rounded, axis, format.block);
      EXPECT_LT(error, plain);
      EXPECT_NEAR(rounded.sqnr_db, 10 * std::log10(signal / error), 0.01);
      // Numbers with a normal distribution: 4 bits leave some 20 dB, each bit more brings 6.
      EXPECT_GT(rounded.sqnr_db, format.bits == 4 ? 17 : 40);
      for (int64_t i = 0; i < rounded.values.count(); ++i) {
        ASSERT_GE(rounded.values.at(i), -top - 1);
        ASSERT_LE(rounded.values.at(i), top);
      }
    }
}

// Of 16 numbers one is left unused where the largest weight, of either sign, must become 7: a part of the error.
TEST(QuantizeWeights, ScalesOfEitherSignAreBetter) {
  const Tensor weights = normal({24, 200}, 8);
  const RoundedWeights above = round_weights(weights, 1, {4, 32}), either = round_weights(weights, 1, {4, 32, true});
  EXPECT_LT(squared_error(weights, either, 1, 32), 0.97 * squared_error(weights, above, 1, 32));
  bool below = false;
  for (int64_t i = 0; i < above.scales.count(); ++i) {
    EXPECT_GT(above.scales.at(i), 0);
    below = below || either.scales.at(i) < 0;
  }
  EXPECT_TRUE(below);
}

TEST(QuantizeWeights, WhatTheFormatHoldsIsKept) {
  Tensor weights(DType::f32, {3, 64});
  for (int64_t i = 0; i < weights.count(); ++i) weights.set(i, i < 64 ? 0 : 0.125 * static_cast<double>(i % 15 - 7));
  const RoundedWeights rounded = round_weights(weights, 1, {4, 32});
  EXPECT_EQ(squared_error(weights, rounded, 1, 32), 0);
  EXPECT_TRUE(std::isinf(rounded.sqnr_db));
}

// Moments of rows whose columns are sums of few sources, and a column that is always 0.
SecondMoments correlated(int64_t columns, int64_t rows) {
  std::mt19937 gen(3);
  std::normal_distribution<double> dist;
  std::vector<double> mixing(static_cast<size_t>(4 * columns));
  for (double& m : mixing) m = dist(gen);
  SecondMoments moments{
      .sums = std::vector<double>(static_cast<size_t>(columns * columns)), .columns = columns, .rows = rows};
  std::vector<double> x(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r) {
    for (double& v : x) v = 0.2 * dist(gen);
    for (size_t s = 0; s < 4; ++s) {
      const double source = dist(gen);
      for (size_t c = 0; c < x.size(); ++c) x[c] += source * mixing[s * x.size() + c];
    }
    x[5] = 0;
    for (size_t a = 0; a < x.size(); ++a)
      for (size_t b = 0; b < x.size(); ++b) moments.sums[a * x.size() + b] += x[a] * x[b];
  }
  return moments;
}

// e H e over all rows of errors.
double result_error(const Tensor& weights, const RoundedWeights& rounded, int64_t block, const SecondMoments& moments) {
  const int64_t rows = rounded.values.dims()[0], columns = moments.columns, blocks = rounded.scales.dims()[1];
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<double> e;
    for (int64_t c = 0; c < columns; ++c)
      e.push_back(weights.at(r * columns + c) -
                  rounded.values.at(r * columns + c) * rounded.scales.at(r * blocks + c / block));
    for (size_t a = 0; a < e.size(); ++a)
      for (size_t b = 0; b < e.size(); ++b) sum += e[a] * e[b] * moments.sums[a * e.size() + b];
  }
  return sum;
}

// The factor is that of the moments as they are shrunk: its products give them back.
TEST(QuantizeWeights, FeedbackIsAFactorOfTheMoments) {
  constexpr int64_t n = 150;
  const SecondMoments moments = correlated(n, 300);
  const ErrorFeedback feedback(moments);
  ASSERT_TRUE(feedback.any());
  double mean = 0;
  for (int64_t c = 0; c < n; ++c) mean += moments.sums[static_cast<size_t>(c * n + c)] / n;
  const auto factor = [&](int64_t r, int64_t c) {
    return r > c ? 0 : feedback.row(r)[c - r] * (r == c ? 1 : feedback.row(c)[0]);
  };
  for (int64_t a = 0; a < n; a += 7)
    for (int64_t b = 0; b < n; b += 5) {
      double product = 0;
      for (int64_t k = 0; k < n; ++k) product += factor(a, k) * factor(b, k);
      const double moment = moments.sums[static_cast<size_t>(a * n + b)] / mean;
      EXPECT_NEAR(product, a == b ? moment + 0.01 : moment * 300 / 450, 1e-9) << a << " " << b;
    }
  EXPECT_NEAR(feedback.importance(5), 0.01 / 1.01, 1e-9);
}

TEST(QuantizeWeights, FeedbackMakesResultsMoreExact) {
  constexpr int64_t n = 150;
  const SecondMoments moments = correlated(n, 3000);
  const Tensor weights = normal({24, n}, 9);
  const RoundedWeights plain = round_weights(weights, 1, {4, 32}),
                       fed = round_weights(weights, 1, {4, 32}, ErrorFeedback(moments));
  // What is said of the results is true, but for what is added to the moments.
  const double before = result_error(weights, plain, 32, moments), after = result_error(weights, fed, 32, moments);
  EXPECT_LT(after, 0.2 * before);
  EXPECT_GT(squared_error(weights, fed, 1, 32), squared_error(weights, plain, 1, 32));
  EXPECT_GT(fed.sqnr_db, plain.sqnr_db + 6);
}

TEST(QuantizeWeights, WhereNothingIsKnownNothingIsFedBack) {
  EXPECT_FALSE(ErrorFeedback(SecondMoments{.sums = std::vector<double>(16), .columns = 4, .rows = 9}).any());
  SecondMoments overflowed = correlated(40, 9);
  overflowed.sums[3] = INFINITY;
  EXPECT_FALSE(ErrorFeedback(overflowed).any());
}

TEST(QuantizeWeights, LargeMatricesOfAGraphBecomeSmall) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{3, 128})});
  const auto add = [&](Op op, std::vector<ValueId> inputs) {
    const auto node = g.add_node(std::move(op), std::move(inputs), 1, {"n" + std::to_string(g.order().size())});
    EXPECT_TRUE(node.ok()) << node.status().message();
    return g.node(*node).outputs[0];
  };
  const ValueId large = g.add_constant(normal({128, 160}, 1), "large");
  const ValueId turned = g.add_constant(normal({150, 160}, 2), "turned");
  const ValueId small = g.add_constant(normal({150, 8}, 3), "small");
  Tensor broken = normal({8, 4096}, 4);
  broken.set(9, INFINITY);
  const ValueId first = add(MatMul{}, {x, large, g.add_constant(normal({160}, 5), "bias")});
  const ValueId second = add(MatMul{.trans_b = true}, {first, turned});
  const ValueId third = add(MatMul{}, {second, small});
  g.add_output(add(MatMul{}, {third, g.add_constant(broken, "broken")}), "y");
  const Graph before = g;
  const auto reports = quantize_weights(g, {8, 64}).value();
  ASSERT_TRUE(verify(g).ok()) << verify(g).message();
  ASSERT_EQ(reports.size(), 4u);
  for (const size_t i : {size_t{0}, size_t{1}}) {
    EXPECT_EQ(reports[i].reason, "");
    EXPECT_GT(reports[i].sqnr_db, 40);
    EXPECT_LT(reports[i].bytes_after, reports[i].bytes_before / 3);
  }
  EXPECT_EQ(reports[0].bytes_after, 160 * 128 + 160 * 2 * 4);
  EXPECT_EQ(reports[2].reason, "less than 65536 bytes");
  EXPECT_EQ(reports[2].bytes_after, reports[2].bytes_before);
  EXPECT_EQ(reports[3].reason, "not all of them are finite");
  EXPECT_NE(summary(reports, {8, 64}).find("2 of 4 matrices in int8, by blocks of 64"), std::string::npos);
  // The third product's input, whose error is that of 8 bits in two layers.
  Graph a = before, b = g;
  for (Graph* graph : {&a, &b}) graph->add_output(graph->node(graph->order()[1]).outputs[0], "second");
  const Tensor input = normal({3, 128}, 6);
  const auto want = interpret(a, Tensors{input}), got = interpret(b, Tensors{input});
  ASSERT_TRUE(want.ok() && got.ok());
  double error = 0, signal = 0;
  for (int64_t i = 0; i < (*want)[1].count(); ++i) {
    error += std::pow((*got)[1].at(i) - (*want)[1].at(i), 2);
    signal += std::pow((*want)[1].at(i), 2);
  }
  EXPECT_LT(error, 1e-3 * signal);
  EXPECT_GT(error, 0);
}

// What rounding does to the results of the mean row goes into the bias, which may have been absent; a bias that is
// computed takes nothing back.
TEST(QuantizeWeights, BiasesTakeBackTheErrorOfTheMean) {
  constexpr int64_t n = 150;
  const Tensor mean = normal({1, n}, 11);
  for (const bool constant : {true, false}) {
    Graph g;
    const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{1, n})});
    const ValueId c = g.add_input("c", {DType::f32, Shape::of(Dims{160})});
    const ValueId first = g.add_constant(normal({n, 160}, 1)), second = g.add_constant(normal({n, 160}, 2));
    g.add_output(g.node(*g.add_node(MatMul{}, {x, first})).outputs[0], "a");
    const ValueId bias = constant ? g.add_constant(normal({160}, 5)) : c;
    g.add_output(g.node(*g.add_node(MatMul{}, {x, second, bias})).outputs[0], "b");
    const Graph before = g;
    const auto reports = quantize_weights(g, {4, 32}, [&](NodeId) -> Result<SecondMoments> {
      SecondMoments moments = correlated(n, 300);
      for (int64_t i = 0; i < n; ++i) moments.means.push_back(mean.at(i));
      return moments;
    });
    ASSERT_TRUE(reports.ok() && verify(g).ok()) << verify(g).message();
    const Tensors inputs{mean, normal({160}, 6)};
    const auto want = interpret(before, inputs), got = interpret(g, inputs);
    ASSERT_TRUE(want.ok() && got.ok());
    const auto error = [&](size_t k) {
      double most = 0;
      for (int64_t i = 0; i < 160; ++i) most = std::max(most, std::fabs((*got)[k].at(i) - (*want)[k].at(i)));
      return most;
    };
    // Sums of 150 products of f32 that are below 0.05; rounding to 4 bits moves them by 1e-3.
    EXPECT_LT(error(0), 1e-6);
    if (constant) EXPECT_LT(error(1), 1e-6);
    else EXPECT_GT(error(1), 1e-4);
  }
}

SecondMoments moments_of(const Tensor& rows) {
  const int64_t columns = rows.dims()[1];
  const auto n = static_cast<size_t>(columns);
  SecondMoments m{
      .means = std::vector<double>(n), .sums = std::vector<double>(n * n), .columns = columns, .rows = rows.dims()[0]};
  for (int64_t i = 0; i < rows.count(); ++i)
    m.means[static_cast<size_t>(i % columns)] += rows.at(i) / static_cast<double>(m.rows);
  for (int64_t r = 0; r < m.rows; ++r)
    for (size_t a = 0; a < n; ++a)
      for (size_t b = 0; b < n; ++b)
        m.sums[a * n + b] += (rows.at(r * columns + static_cast<int64_t>(a)) - m.means[a]) *
                             (rows.at(r * columns + static_cast<int64_t>(b)) - m.means[b]);
  return m;
}

// A norm with a scale for each column, from 0.05 to 4, and two products behind it; its result may be an output, too.
Graph norm_and_products(bool read_elsewhere) {
  constexpr int64_t n = 160;
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{600, n})});
  Tensor scale(DType::f32, {n});
  for (int64_t c = 0; c < n; ++c) scale.set(c, 0.05 * std::pow(80.0, static_cast<double>(c * 37 % n) / n));
  const ValueId norm =
      g.node(*g.add_node(LayerNorm{}, {x, g.add_constant(scale), g.add_constant(normal({n}, 2))})).outputs[0];
  g.set_name(norm, "norm");
  for (const unsigned seed : {3u, 4u})
    g.add_output(g.node(*g.add_node(MatMul{}, {norm, g.add_constant(normal({n, 120}, seed))})).outputs[0],
                 fmt::format("y{}", seed));
  if (read_elsewhere) g.add_output(norm, "norm");
  return g;
}

double squared_distance(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.count(); ++i) sum += std::pow(a.at(i) - b.at(i), 2);
  return sum;
}

// What products read is divided by factors in the norm before them, where they alone read it: no node is left for it.
TEST(QuantizeWeights, ColumnsThatCountForMoreAreRoundedInSmallerSteps) {
  double errors[2];
  for (const bool read_elsewhere : {false, true}) {
    const Graph before = norm_and_products(read_elsewhere);
    Graph g = before;
    const Tensor x = normal({600, 160}, 1);
    Tensor normed;
    const auto want = interpret(before, Tensors{x}, [&](NodeId id, std::span<const Tensor> values) {
      if (id == before.order()[0]) normed = values[0];
    });
    ASSERT_TRUE(want.ok());
    int asked = 0;
    const auto reports = quantize_weights(g, {4, 32}, [&](NodeId) -> Result<SecondMoments> {
      ++asked;
      return moments_of(normed);
    });
    ASSERT_TRUE(reports.ok() && canonicalize(g, {}).ok() && verify(g).ok()) << verify(g).message();
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(g.order().size(), 3u) << to_text(g, {.max_inline = 4});
    const auto got = interpret(g, Tensors{x});
    ASSERT_TRUE(got.ok());
    errors[read_elsewhere] = squared_distance((*got)[0], (*want)[0]) + squared_distance((*got)[1], (*want)[1]);
    if (read_elsewhere) {
      EXPECT_EQ((*got)[2], (*want)[2]);
    }
    // What the norm makes then is no value of the model.
    const bool named = std::ranges::any_of(g.values(), [&](ValueId v) { return g.value(v).name == "norm"; });
    EXPECT_EQ(named, read_elsewhere);
  }
  EXPECT_LT(errors[false], 0.95 * errors[true]);
}

TEST(ChannelFactors, AreTakenWhereTheyCostNothing) {
  const auto graph = graph_from_text(R"hone(graph {
    input %1 "x" : f32[2,4]
    input %2 "computed" : f32[4]
    const %3 : f32[4] = [1, 2, 3, 4]
    const %4 : f32[4,4] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    %5 = LayerNorm(%1, %3) {rms=true} from "yes norm"
    %6 = LayerNorm(%1, %2) {rms=true} from "no norm"
    %7 = MatMul(%1, %4, %3) from "yes product"
    %8 = MatMul(%1, %4, %2) from "no bias"
    %9 = Pointwise(%1) {program="in0:f32; tanh:f32(0)"} from "yes elementwise"
    %10 = Pointwise(%7) {program="in0:f32; tanh:f32(0)"} from "no epilogue"
    %11 = Pointwise(%9, %10) {program="in0:f32; in1:f32; add:f32(0,1)"} from "no residual"
    %12 = Reduce(%1) {kind="sum"} from "no reduction"
    const %13 : i64[2] = [1, 8]
    %14 = Reshape(%7, %13) from "no view"
    %15 = Pointwise(%14) {program="in0:f32; tanh:f32(0)"} from "no epilogue behind a view"
    output %11 "y"
  })hone");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_FALSE(takes_channel_factors(*graph, graph->inputs()[0]));
  for (NodeId id : graph->order())
    EXPECT_EQ(takes_channel_factors(*graph, graph->node(id).outputs[0]),
              graph->label(id).find("yes") != std::string::npos)
        << graph->label(id);
}

TEST(QuantizeWeights, FormatsThatCannotBeAreNamed) {
  EXPECT_EQ(find_weight_format("int4")->bits, 4);
  EXPECT_EQ(find_weight_format("int8")->bits, 8);
  EXPECT_FALSE(find_weight_format("int2"));
  for (const int64_t block : {8, 24, 2048, -16})
    EXPECT_EQ(check({4, block}).message(),
              fmt::format("blocks of {} weights: a power of 2 from 16 to 1024 is possible", block));
  EXPECT_TRUE(check({4, 16}).ok());
  EXPECT_FALSE(check({3, 16}).ok());
}

}  // namespace
}  // namespace hone
