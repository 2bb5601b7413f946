#include "calibrate/calibrators.h"

#include <algorithm>
#include <cmath>

namespace hone::calibrate {
namespace {

constexpr Calibrator kCalibrators[] = {
    {"entropy", entropy_threshold, "least Kullback-Leibler divergence, TensorRT's procedure"},
    {"minmax", minmax_threshold, "largest magnitude, nothing is clipped"},
    {"percentile", percentile_threshold, "clips what exceeds a percentile"},
    {"mse", mse_threshold, "least mean squared error of the tensor"},
    {"legacy", legacy_threshold, "quantile and regression cutoff"},
};

// The magnitude that a fraction of the values does not exceed.
double quantile(const Histogram& h, double fraction) {
  const double wanted = fraction * static_cast<double>(h.total());
  double below = 0;
  for (int bin = 0; bin <= h.last(); ++bin) {
    const auto count = static_cast<double>(h.count(bin));
    if (count > 0 && below + count >= wanted)
      return std::min((bin + (wanted - below) / count) * h.width(), h.largest());
    below += count;
  }
  return h.largest();
}

// Least squares through (bin, log count) of the bins from the fullest to `end` that hold something; where the line
// comes down to one count, in bins. Infinity when it does not.
double end_of_decay(const Histogram& h, int end) {
  int fullest = 1;  // bin 0 is noise
  for (int bin = 1; bin <= end; ++bin)
    if (h.count(bin) > h.count(fullest)) fullest = bin;
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (int bin = fullest; bin <= end; ++bin) {
    if (h.count(bin) == 0) continue;
    const double x = bin + 0.5, y = std::log(static_cast<double>(h.count(bin)));
    n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  const double spread = n * sxx - sx * sx;
  const double slope = spread > 0 ? (n * sxy - sx * sy) / spread : 0;
  return slope < 0 ? (sy - slope * sx) / n / -slope : HUGE_VAL;
}

}  // namespace

std::span<const Calibrator> calibrators() { return kCalibrators; }

const Calibrator* find_calibrator(std::string_view name) {
  const auto found = std::ranges::find(kCalibrators, name, &Calibrator::name);
  return found == std::end(kCalibrators) ? nullptr : found;
}

Status check(const CalibratorOptions& options) {
  if (!(options.percentile > 0 && options.percentile <= 100))
    return invalid("a percentile of {}: expected above 0 to 100", options.percentile);
  if (!(options.quantile > 0 && options.quantile <= 1))
    return invalid("a quantile of {}: expected above 0 to 1", options.quantile);
  if (!(options.cutoff > 0 && options.cutoff <= 1))
    return invalid("a cutoff of {}: expected above 0 to 1", options.cutoff);
  return {};
}

double minmax_threshold(const Histogram& h, const CalibratorOptions&) { return h.largest(); }

double percentile_threshold(const Histogram& h, const CalibratorOptions& options) {
  const double t = quantile(h, options.percentile / 100);
  return t > 0 ? t : h.largest();
}

double legacy_threshold(const Histogram& h, const CalibratorOptions& options) {
  double t = quantile(h, options.quantile);
  if (options.cutoff < 1) {
    const int end = static_cast<int>(options.cutoff * h.largest() / h.width());
    t = std::min(t, end_of_decay(h, std::min(end, h.last())) * h.width());
  }
  return t > 0 ? t : h.largest();
}

}  // namespace hone::calibrate
