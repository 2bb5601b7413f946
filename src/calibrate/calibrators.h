#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "calibrate/histogram.h"

namespace hone::calibrate {

struct CalibratorOptions {
  double percentile = 99.99;  // percentile: of the values that stay unclipped, above 0 to 100
  double quantile = 0.99999;  // legacy: the same as a fraction, above 0 to 1
  double cutoff = 1;          // legacy: fraction of the largest magnitude up to which the regression looks; 1: none
};
Status check(const CalibratorOptions& options);

// A way to choose the threshold t at which a tensor is clipped: int8 then stands for k * t / 127, |k| <= 127. It is at
// most the largest magnitude, and 0 only when that is 0.
struct Calibrator {
  std::string_view name;
  double (*threshold)(const Histogram& magnitudes, const CalibratorOptions& options);
  std::string_view summary;
};
std::span<const Calibrator> calibrators();
const Calibrator* find_calibrator(std::string_view name);  // null when there is none

// The largest magnitude: nothing is clipped.
double minmax_threshold(const Histogram& magnitudes, const CalibratorOptions& options);

// The magnitude that `percentile` per cent of the values do not exceed, linear within a bin.
double percentile_threshold(const Histogram& magnitudes, const CalibratorOptions& options);

// The least Kullback-Leibler divergence, as in TensorRT's IInt8EntropyCalibrator2 (S. Migacz, "8-bit Inference with
// TensorRT", GTC 2017; NVIDIA's MLPerf documentation, calibration.md). For each bin B from the 128th on: what lies
// beyond is added to B; the bins up to B are pooled in 127 levels between 0 and the centre of B, the last bin in the
// last level; each level is spread evenly over those of its bins that hold something; and the divergence of the two is
// taken. Bin 0 is left out as noise. The threshold is the centre of the best B, the largest when several are equal.
// TensorRT fixes its bins by the first batch, so that its result depends on the order of the batches; the bins of
// Histogram do not.
double entropy_threshold(const Histogram& magnitudes, const CalibratorOptions& options);

// The least mean squared error of int8, among thresholds that are 2^(1/16) apart.
double mse_threshold(const Histogram& magnitudes, const CalibratorOptions& options);

// In the manner of TensorRT's IInt8LegacyCalibrator, whose procedure was never published: the magnitude at `quantile`,
// and not more than where a line through the logarithms of the counts, fitted from the fullest bin to `cutoff` times
// the largest magnitude, comes down to one count (a tail that decays exponentially ends there).
double legacy_threshold(const Histogram& magnitudes, const CalibratorOptions& options);

// The mean squared error of int8 at threshold t, the values of a bin being spread evenly; exact zeros make none.
double rounding_error(const Histogram& magnitudes, double t);

}  // namespace hone::calibrate
