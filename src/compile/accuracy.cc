#include "compile/accuracy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/copy.h"
#include "runtime/context.h"

namespace hone {
namespace {

constexpr int64_t kClasses = 10;           // so many elements on the last axis are a choice
constexpr size_t kMostBytes = 1ull << 30;  // of outputs that are kept: samples beyond them are left out
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct MetricRow {
  AccuracyMetric metric;
  std::string_view name;
};
constexpr MetricRow kMetrics[] = {
    {AccuracyMetric::automatic, "auto"}, {AccuracyMetric::top1, "top1"}, {AccuracyMetric::error, "error"}};

bool has_numbers(const Tensor& t) { return t.defined() && t.type() != DType::string && t.type() != DType::sequence; }

// How many elements a position chooses among; 0 when it does not.
int64_t choices(const Tensor& t) {
  return is_float(t.type()) && t.rank() > 0 && t.count() > 0 && t.dims().back() > 1 ? t.dims().back() : 0;
}

// Whether the largest element of a row stands elsewhere; of equal ones any will do.
bool moved(const Tensor& value, const Tensor& wanted, int64_t begin, int64_t count) {
  int64_t own = begin;
  double largest = wanted.at(begin);
  bool finite = true;
  for (int64_t i = begin; i < begin + count; ++i) {
    if (value.at(i) > value.at(own)) own = i;
    largest = std::max(largest, wanted.at(i));
    finite &= !std::isnan(value.at(i)) || std::isnan(wanted.at(i));
  }
  return !finite || wanted.at(own) < largest;
}

Status bind(ExecutionContext& context, const Tensors& sample) {
  const auto& inputs = context.engine().program().inputs;
  for (size_t i = 0; i < inputs.size(); ++i) HONE_CHECK(context.bind_input(inputs[i].name, sample[i]));
  return {};
}

size_t bytes_of(const Tensors& tensors) {
  size_t bytes = 0;
  for (const Tensor& t : tensors) bytes += has_numbers(t) ? t.bytes() : 0;
  return bytes;
}

}  // namespace

std::string_view name(AccuracyMetric metric) { return std::ranges::find(kMetrics, metric, &MetricRow::metric)->name; }

std::optional<AccuracyMetric> find_accuracy_metric(std::string_view name) {
  const auto found = std::ranges::find(kMetrics, name, &MetricRow::name);
  return found == std::end(kMetrics) ? std::nullopt : std::optional(found->metric);
}

void OutputDistance::add(const Tensor& value, const Tensor& wanted) {
  if (!has_numbers(wanted)) return;
  if (value.dims() != wanted.dims()) {
    noise_ = kInfinity;
    positions_ += 1;
    moved_ += 1;
    return;
  }
  for (int64_t i = 0; i < wanted.count(); ++i) {
    const double x = value.at(i), y = wanted.at(i);
    const bool same = x == y || (std::isnan(x) && std::isnan(y));
    const double error = same ? 0 : std::isfinite(x) && std::isfinite(y) ? x - y : kInfinity;
    noise_ += error * error;
    if (std::isfinite(y)) signal_ += y * y;
  }
  const int64_t row = choices(wanted);
  for (int64_t begin = 0; row > 0 && begin < wanted.count(); begin += row) {
    positions_ += 1;
    moved_ += moved(value, wanted, begin, row);
  }
}

Distance OutputDistance::distance() const {
  return {positions_ == 0 ? 0 : static_cast<double>(moved_) / static_cast<double>(positions_),
          noise_ == 0 ? 0 : std::sqrt(noise_ / signal_)};
}

Result<Yardstick> Yardstick::make(const EngineData& fp32, const AccuracyBudget& budget) {
  if (budget.samples.empty()) return invalid("an accuracy budget needs samples to be measured on");
  Yardstick made(budget);
  HONE_TRY(auto loaded, LoadedEngine::make(fp32));
  ExecutionContext context(std::move(loaded));
  size_t bytes = 0;
  for (const Tensors& sample : budget.samples) {
    if (bytes > kMostBytes) break;
    HONE_CHECK(bind(context, sample));
    HONE_CHECK(context.run());
    Tensors& outputs = made.wanted_.emplace_back();
    for (const Tensor& t : context.outputs()) outputs.push_back(copied(t));
    bytes += bytes_of(outputs);
  }
  const Tensors& outputs = made.wanted_.front();
  const auto floats = std::ranges::count_if(outputs, [](const Tensor& t) { return is_float(t.type()); });
  int64_t most = 0;
  for (const Tensor& t : outputs) most = std::max(most, choices(t));
  if (budget.metric == AccuracyMetric::top1 && most == 0)
    return invalid("the accuracy metric top1 needs an output of floats with several elements on its last axis");
  made.metric_ = budget.metric;
  made.reason_ = "as asked for";
  if (budget.metric == AccuracyMetric::automatic) {
    const bool classes = floats == 1 && most >= kClasses;
    made.metric_ = classes ? AccuracyMetric::top1 : AccuracyMetric::error;
    made.reason_ = classes ? fmt::format("one output of floats, with {} on its last axis", most)
                           : fmt::format("no single output of floats with {} or more on its last axis", kClasses);
  }
  return made;
}

Result<Distance> Yardstick::distance(const EngineData& engine, size_t most_samples) const {
  HONE_TRY(auto loaded, LoadedEngine::make(engine));
  ExecutionContext context(std::move(loaded));
  std::vector<OutputDistance> outputs(wanted_.front().size());
  for (size_t k = 0; k < std::min(wanted_.size(), most_samples); ++k) {
    HONE_CHECK(bind(context, budget_.samples[k]));
    HONE_CHECK(context.run());
    const Tensors values = context.outputs();
    for (size_t i = 0; i < outputs.size(); ++i) outputs[i].add(values[i], wanted_[k][i]);
  }
  Distance worst;
  for (const OutputDistance& output : outputs) {
    const Distance d = output.distance();
    worst = {std::max(worst.top1, d.top1), std::max(worst.error, d.error)};
  }
  return worst;
}

double Yardstick::of_metric(const Distance& distance) const {
  return metric_ == AccuracyMetric::top1 ? distance.top1 : distance.error;
}

}  // namespace hone
