#include "calibrate/calibrators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace hone::calibrate {
namespace {

// `n` values at the quantiles of a distribution of magnitudes, given by the inverse of its distribution function, and
// then others.
Histogram distributed(int n, const std::function<double(double)>& inverse, std::vector<float> others = {}) {
  for (int i = 0; i < n; ++i) others.push_back(static_cast<float>(inverse((i + 0.5) / n)));
  Histogram h;
  h.add(others, *std::max_element(others.begin(), others.end()));
  return h;
}

double uniform(double p) { return p; }
double exponential(double p) { return -std::log1p(-p); }
// Of |x|, x standard normal, by bisection.
double half_normal(double p) {
  double low = 0, high = 10;
  for (int i = 0; i < 40; ++i) (std::erf((low + high) / 2 / std::sqrt(2.0)) < p ? low : high) = (low + high) / 2;
  return low;
}

double threshold(const char* name, const Histogram& h, const CalibratorOptions& options = {}) {
  return find_calibrator(name)->threshold(h, options);
}

TEST(Calibrators, AreATable) {
  for (const char* name : {"entropy", "minmax", "percentile", "mse", "legacy"})
    ASSERT_NE(find_calibrator(name), nullptr) << name;
  EXPECT_EQ(find_calibrator("magic"), nullptr);
  EXPECT_FALSE(check({.percentile = 0}).ok());
  EXPECT_FALSE(check({.percentile = 101}).ok());
  EXPECT_FALSE(check({.quantile = NAN}).ok());
  EXPECT_FALSE(check({.cutoff = 2}).ok());
  EXPECT_TRUE(check({}).ok());
}

TEST(Calibrators, StayWithinTheData) {
  const Histogram empty, zeros = distributed(10, [](double) { return 0.0; }),
                         one = distributed(1, [](double) { return 3.0; });
  const Histogram tiny = distributed(100, [](double p) { return p * 1e-40; }),
                  spike = distributed(1000, [](double) { return 1e-6; }, {100});
  for (const Calibrator& c : calibrators()) {
    EXPECT_EQ(c.threshold(empty, {}), 0) << c.name;
    EXPECT_EQ(c.threshold(zeros, {}), 0) << c.name;
    for (const Histogram* h : {&one, &tiny, &spike}) {
      EXPECT_GT(c.threshold(*h, {.cutoff = 0.5}), 0) << c.name;
      EXPECT_LE(c.threshold(*h, {.cutoff = 0.5}), h->largest()) << c.name;
    }
  }
}

TEST(Calibrators, MinmaxClipsNothing) { EXPECT_EQ(threshold("minmax", distributed(1000, uniform, {7.25f})), 7.25); }

TEST(Calibrators, PercentileOfKnownDistributions) {
  const Histogram u = distributed(1000000, uniform), e = distributed(1000000, exponential);
  for (double p : {50.0, 99.0, 99.9, 100.0}) {
    EXPECT_NEAR(threshold("percentile", u, {.percentile = p}), p / 100, 1e-5) << p;
    if (p < 100) {
      EXPECT_NEAR(threshold("percentile", e, {.percentile = p}), exponential(p / 100), e.width()) << p;
    }
  }
  // Zeros are values too: half of a ReLU's output.
  const Histogram relu = distributed(1000000, [](double p) { return std::max(0.0, 2 * p - 1); });
  EXPECT_NEAR(threshold("percentile", relu, {.percentile = 99}), 0.98, 1e-3);
}

// Banner et al., "Post training 4-bit quantization of convolutional networks" (2019): the best clipping of 8 bits is at
// 3.92 deviations of a normal distribution and at 9.89 times the scale of a Laplace distribution.
TEST(Calibrators, MseFindsTheKnownOptimum) {
  const double step = std::exp2(1.0 / 16);
  const double normal = threshold("mse", distributed(300000, half_normal));
  EXPECT_GT(normal, 3.92 / step);
  EXPECT_LT(normal, 3.92 * step);
  const double laplace = threshold("mse", distributed(2000000, exponential));
  EXPECT_GT(laplace, 9.89 / step);
  EXPECT_LT(laplace, 9.89 * step);
  EXPECT_NEAR(threshold("mse", distributed(100000, uniform)), 1, 1e-3);
}

TEST(Calibrators, RoundingErrorOfKnownDistributions) {
  const Histogram u = distributed(1000000, uniform);
  EXPECT_NEAR(rounding_error(u, 1), 1 / (127.0 * 127 * 12), 1e-8);
  EXPECT_NEAR(rounding_error(u, 0.5), 0.5 * 0.25 / (127.0 * 127 * 12) + 1.0 / 24,
              1e-5);  // plus the integral of (x - 1/2)^2
  EXPECT_EQ(rounding_error(distributed(10, [](double) { return 0.0; }), 1), 0);
  // Steps much wider than a bin: everything below half a step becomes 0.
  const Histogram small = distributed(100000, [](double p) { return p * 3 / 1024; }, {1});
  EXPECT_NEAR(rounding_error(small, 1), 9.0 / (1024 * 1024 * 3), 1e-8);
}

// The divergence as it is defined, for comparison with the sums that the calibrator takes apart.
double entropy_by_definition(const Histogram& h) {
  double least = HUGE_VAL, best = 0;
  for (int b = 127; b <= h.last(); ++b) {
    std::vector<double> p(static_cast<size_t>(b) + 1), level_sum(127), level_bins(127);
    for (int bin = 1; bin <= h.last(); ++bin)
      p[static_cast<size_t>(std::min(bin, b))] += static_cast<double>(h.count(bin));
    const auto level = [&](int bin) {
      return static_cast<size_t>(std::min(126.0, std::floor(127 * (bin + 0.5) / (b + 0.5))));
    };
    for (int bin = 0; bin <= b; ++bin) {
      level_sum[level(bin)] += p[static_cast<size_t>(bin)];
      level_bins[level(bin)] += p[static_cast<size_t>(bin)] > 0;
    }
    double d = 0;
    for (int bin = 1; bin <= b; ++bin) {
      const double pb = p[static_cast<size_t>(bin)];
      if (pb > 0) d += pb * std::log(pb / (level_sum[level(bin)] / level_bins[level(bin)]));
    }
    const auto total = static_cast<double>(h.total());
    if (d <= least + 1e-9 * total * std::log(total)) least = std::min(least, d), best = h.centre(b);
  }
  return std::min(best, h.largest());
}

TEST(Calibrators, EntropyIsTheLeastDivergence) {
  const auto lumpy = [](double p) { return std::floor(50 * exponential(p)) / 50 + 0.01 * p; };
  for (const Histogram& h : {distributed(20000, half_normal), distributed(20000, exponential), distributed(3000, lumpy),
                             distributed(20000, half_normal, {30})}) {
    EXPECT_NEAR(threshold("entropy", h), entropy_by_definition(h), 8 * h.width());
  }
}

TEST(Calibrators, EntropyKeepsAUniformDistributionAndClipsOutliers) {
  const Histogram u = distributed(1000000, uniform);
  EXPECT_NEAR(threshold("entropy", u), 1, 0.02);
  const Histogram outlier = distributed(300000, half_normal, {100});
  EXPECT_LT(threshold("entropy", outlier), 10);
  EXPECT_GT(threshold("entropy", outlier), 3);
  EXPECT_EQ(threshold("entropy", distributed(1, [](double) { return 2.0; })), 2);
}

TEST(Calibrators, LegacyTakesTheQuantile) {
  const Histogram u = distributed(1000000, uniform);
  EXPECT_NEAR(threshold("legacy", u, {.quantile = 0.9}), 0.9, 1e-5);
  EXPECT_EQ(threshold("legacy", u, {.quantile = 1}), u.largest());
}

// n values of e^-x in bins of w: a bin holds n w e^-x of them, one at log(n w). A far outlier does not change that.
TEST(Calibrators, LegacyRegressionFindsWhereADecayEnds) {
  const int n = 1000000;
  const Histogram e = distributed(n, exponential, {40});
  EXPECT_NEAR(threshold("legacy", e, {.quantile = 1, .cutoff = 0.15}), std::log(n * e.width()), 0.2);
  EXPECT_NEAR(threshold("legacy", e, {.quantile = 0.9, .cutoff = 0.15}), exponential(0.9), e.width());
}

}  // namespace
}  // namespace hone::calibrate
