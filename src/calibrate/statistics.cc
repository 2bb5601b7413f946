#include "calibrate/statistics.h"

#include <algorithm>
#include <cmath>

#include "calibrate/reduce.h"

namespace hone::calibrate {
namespace {

constexpr int64_t kLeastPart = 1 << 15, kMostParts = 32;  // of a tensor, in values; a part takes 50 KB while it is seen

// Some of a tensor, without the number of runs.
Statistics part_of(const Tensor& tensor, int64_t begin, const Layout& layout, bool has_channels) {
  std::vector<float> wide;
  std::span<const float> values;
  if (tensor.type() == DType::f32) {
    values = {tensor.data<float>() + begin, static_cast<size_t>(layout.count())};
  } else {
    for (int64_t i = begin; i < begin + layout.count(); ++i) wide.push_back(static_cast<float>(tensor.at(i)));
    values = wide;
  }
  Statistics part;
  ChannelStatistics seen(static_cast<size_t>(layout.channels), layout.outer * layout.inner);
  const Total total = reduce_channels(values.data(), layout.outer, layout.channels, layout.inner,
                                      {seen.low.data(), seen.high.data(), seen.sum.data()});
  if (!total.finite) {
    part.nans = std::ranges::count_if(values, [](float v) { return std::isnan(v); });
    part.infinities = std::ranges::count_if(values, [](float v) { return std::isinf(v); });
    return part;
  }
  part.low = *std::ranges::min_element(seen.low);
  part.high = *std::ranges::max_element(seen.high);
  for (double s : seen.sum) part.sum += s;
  part.sum_of_squares = total.squares;
  if (has_channels) part.channels = std::move(seen);
  part.magnitudes.add(values, std::max(std::fabs(part.low), std::fabs(part.high)));
  return part;
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

NotFinite Statistics::observe(const Tensor& tensor, int64_t axis, cpu::ThreadPool& pool) {
  ++runs;
  if (tensor.count() == 0) return {};
  const Layout layout = layout_of(tensor.dims(), axis);
  const int64_t parts = std::clamp<int64_t>(layout.count() / kLeastPart, 1, std::min(layout.outer, kMostParts));
  std::vector<Statistics> seen(static_cast<size_t>(parts));
  pool.parallel(parts, [&](int64_t part, int) {
    const int64_t begin = layout.outer * part / parts, end = layout.outer * (part + 1) / parts;
    seen[static_cast<size_t>(part)] = part_of(tensor, begin * layout.channels * layout.inner,
                                              {end - begin, layout.channels, layout.inner}, axis >= 0);
  });
  Statistics& run = seen[0];
  for (size_t part = 1; part < seen.size(); ++part) run.merge(seen[part]);
  if (run.finite()) {
    merge(run);
  } else {
    nans += run.nans;
    infinities += run.infinities;
  }
  return {run.nans, run.infinities};
}

}  // namespace hone::calibrate
