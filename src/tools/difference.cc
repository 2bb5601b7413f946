#include "tools/difference.h"

#include <cmath>
#include <limits>

namespace hone::tools {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool has_numbers(const Tensor& t) { return t.defined() && t.type() != DType::string && t.type() != DType::sequence; }

// A complex tensor as twice as many reals.
Tensor as_reals(const Tensor& t) {
  if (!is_complex(t.type())) return t;
  return Tensor(t.type() == DType::c64 ? DType::f32 : DType::f64, {t.count() * 2}, t.raw(), nullptr);
}

}  // namespace

std::optional<Difference> difference(const Tensor& value, const Tensor& yardstick) {
  if (!has_numbers(value) || !has_numbers(yardstick)) return std::nullopt;
  const Tensor a = as_reals(value), b = as_reals(yardstick);
  if (a.count() != b.count()) return std::nullopt;
  Difference d;
  double sum = 0, noise = 0, signal = 0, own = 0, dot = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    const double x = a.at(i), y = b.at(i);
    const bool same = x == y || (std::isnan(x) && std::isnan(y));
    const double error = same ? 0 : std::isfinite(x) && std::isfinite(y) ? std::fabs(x - y) : kInfinity;
    d.max_abs = std::max(d.max_abs, error);
    sum += error;
    noise += error * error;
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    d.largest = std::max(d.largest, std::fabs(y));
    signal += y * y;
    own += x * x;
    dot += x * y;
  }
  d.mean_abs = a.count() == 0 ? 0 : sum / static_cast<double>(a.count());
  d.snr_db = noise == 0 ? kInfinity : 10 * std::log10(signal / noise);
  if (own > 0 || signal > 0) d.cosine = own > 0 && signal > 0 ? dot / std::sqrt(own * signal) : 0;
  return d;
}

}  // namespace hone::tools
