#include <cmath>

#include "calibrate/calibrators.h"

namespace hone::calibrate {
namespace {

constexpr double kLevels = 127;
constexpr int kSteps = 16, kOctaves = 6;  // thresholds tried: 2^(-k/16) of the largest magnitude, down to 2^-6

// The integral of (u - round(u))^2 from -1/2 to u: 1/12 for every whole period.
double integral(double u) {
  const double whole = std::round(u), rest = u - whole;
  return (whole + 0.5) / 12 + rest * rest * rest / 3;
}

}  // namespace

double rounding_error(const Histogram& h, double t) {
  if (h.total() == 0 || t <= 0) return 0;
  const double width = h.width(), step = t / kLevels;
  const int last = h.last();
  double error = 0;
  for (int bin = 0; bin <= last; ++bin) {
    const auto count = static_cast<double>(h.count(bin) - (bin == 0 ? h.zeros() : 0));
    if (count == 0) continue;
    const double beyond = (bin + 0.5) * width - t, a = bin * width / step, b = (bin + 1) * width / step;
    error += count * (beyond > 0 ? beyond * beyond : step * step * (integral(b) - integral(a)) / (b - a));
  }
  return error / static_cast<double>(h.total());
}

double mse_threshold(const Histogram& h, const CalibratorOptions&) {
  double best = h.largest(), least = rounding_error(h, best);
  for (int k = 1; k <= kSteps * kOctaves; ++k) {
    const double t = h.largest() * std::exp2(-static_cast<double>(k) / kSteps), error = rounding_error(h, t);
    if (error >= least) continue;
    least = error;
    best = t;
  }
  return best;
}

}  // namespace hone::calibrate
