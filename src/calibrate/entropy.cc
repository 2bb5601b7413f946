#include <algorithm>
#include <cmath>

#include "calibrate/calibrators.h"

namespace hone::calibrate {
namespace {

constexpr int kLevels = 127, kFirstBins = 128;
constexpr double kTie = 1e-9;  // differences of divergences below this fraction of sum c log c are rounding

double x_log_x(double x) { return x > 0 ? x * std::log(x) : 0; }

// Sums over the bins before each bin, bin 0 left out, so that a level of any candidate costs a difference.
struct Prefix {
  std::vector<double> counts{0, 0}, filled{0, 0}, x_log_x{0, 0};  // counts, bins that hold something, sum of c log c

  explicit Prefix(const Histogram& h) {
    for (int bin = 1; bin <= h.last(); ++bin) {
      const auto count = static_cast<double>(h.count(bin));
      counts.push_back(counts.back() + count);
      filled.push_back(filled.back() + (count > 0));
      x_log_x.push_back(x_log_x.back() + calibrate::x_log_x(count));
    }
  }
};

// Sum of P log(P / Q) over the bins up to B. With P the counts and Q = S / n within a level of sum S and n bins that
// hold something, that is sum P log P - sum S log(S / n).
double divergence(const Prefix& before, size_t b) {
  const double last = before.counts.back() - before.counts[b];  // bin B and all beyond
  double result = before.x_log_x[b] + x_log_x(last);
  size_t begin = 1;
  for (int level = 1; level <= kLevels; ++level) {
    const bool at_end = level == kLevels;
    const double edge = level * (static_cast<double>(b) + 0.5) / kLevels - 0.5;  // of the bins whose centre lies before
    const size_t end = at_end ? b : std::min(b, std::max(begin, static_cast<size_t>(std::ceil(edge))));
    const double sum = before.counts[end] - before.counts[begin] + (at_end ? last : 0);
    const double bins = before.filled[end] - before.filled[begin] + (at_end && last > 0);
    if (sum > 0) result -= sum * std::log(sum / bins);
    begin = end;
  }
  return result;
}

}  // namespace

double entropy_threshold(const Histogram& h, const CalibratorOptions&) {
  if (h.last() < kFirstBins) return h.largest();
  const Prefix before(h);
  int best = h.last();
  double least = HUGE_VAL;
  const double tie = kTie * x_log_x(static_cast<double>(h.total()));
  for (int bin = kFirstBins - 1; bin <= h.last(); ++bin) {
    const double d = divergence(before, static_cast<size_t>(bin));
    if (d > least + tie) continue;
    least = std::min(least, d);
    best = bin;
  }
  return std::min(h.centre(best), h.largest());
}

}  // namespace hone::calibrate
