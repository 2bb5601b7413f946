#include "calibrate/statistics.h"

#include <algorithm>
#include <cmath>

#include "calibrate/reduce.h"

namespace hone::calibrate {
namespace {

Tensor as_f32(const Tensor& tensor) {
  if (tensor.type() == DType::f32) return tensor;
  Tensor wide(DType::f32, tensor.dims());
  for (int64_t i = 0; i < tensor.count(); ++i) wide.mutable_data<float>()[i] = static_cast<float>(tensor.at(i));
  return wide;
}

}  // namespace

Layout layout_of(const Dims& dims, int64_t axis) {
  if (axis < 0 || axis >= static_cast<int64_t>(dims.size())) return {element_count(dims), 1, 1};
  Layout layout;
  for (int64_t i = 0; i < static_cast<int64_t>(dims.size()); ++i)
    (i < axis ? layout.outer : i == axis ? layout.channels : layout.inner) *= dims[static_cast<size_t>(i)];
  return layout;
}

ChannelStatistics::ChannelStatistics(size_t channels, int64_t values)
    : low(channels, std::numeric_limits<float>::infinity()),
      high(channels, -std::numeric_limits<float>::infinity()),
      sum(channels),
      count(values) {}

void ChannelStatistics::merge(const ChannelStatistics& other) {
  if (low.empty()) *this = ChannelStatistics(other.low.size(), 0);
  for (size_t c = 0; c < low.size(); ++c) {
    low[c] = std::min(low[c], other.low[c]);
    high[c] = std::max(high[c], other.high[c]);
    sum[c] += other.sum[c];
  }
  count += other.count;
}

double Statistics::deviation() const {
  const double m = mean();
  return std::sqrt(std::max(0.0, sum_of_squares / static_cast<double>(magnitudes.total()) - m * m));
}

void Statistics::merge(const Statistics& other) {
  runs += other.runs;
  nans += other.nans;
  infinities += other.infinities;
  if (other.empty()) return;
  low = std::min(low, other.low);
  high = std::max(high, other.high);
  sum += other.sum;
  sum_of_squares += other.sum_of_squares;
  if (empty() || channels.low.size() == other.channels.low.size()) channels.merge(other.channels);
  else channels = {};
  magnitudes.merge(other.magnitudes);
}

NotFinite Statistics::observe(const Tensor& tensor, int64_t axis) {
  ++runs;
  if (tensor.count() == 0) return {};
  const Tensor values = as_f32(tensor);
  const std::span<const float> all(values.data<float>(), static_cast<size_t>(values.count()));
  const Layout layout = layout_of(tensor.dims(), axis);
  ChannelStatistics seen(static_cast<size_t>(layout.channels), layout.outer * layout.inner);
  const Total total = reduce_channels(all.data(), layout.outer, layout.channels, layout.inner,
                                      {seen.low.data(), seen.high.data(), seen.sum.data()});
  if (!total.finite) {
    NotFinite odd;
    for (float v : all) {
      odd.nans += std::isnan(v);
      odd.infinities += std::isinf(v);
    }
    nans += odd.nans;
    infinities += odd.infinities;
    return odd;
  }
  const auto [lowest, highest] = std::pair(*std::min_element(seen.low.begin(), seen.low.end()),
                                           *std::max_element(seen.high.begin(), seen.high.end()));
  low = std::min(low, lowest);
  high = std::max(high, highest);
  for (double s : seen.sum) sum += s;
  sum_of_squares += total.squares;
  if (axis >= 0 && (empty() || channels.low.size() == seen.low.size())) channels.merge(seen);
  else channels = {};
  magnitudes.add(all, std::max(std::fabs(lowest), std::fabs(highest)));
  return {};
}

}  // namespace hone::calibrate
