#pragma once

#include <optional>

#include "engine/engine_file.h"

namespace hone {

// What a network's outputs are compared by: both are 0 when they are those of fp32.
//   top1   the share of positions (all axes but the last) at which the largest element stands elsewhere
//   error  the RMS of the errors over the RMS of the values
// Of several outputs the worst counts. `automatic` is top1 for one output of floats whose last axis has ten or more.
enum class AccuracyMetric { automatic, top1, error };
std::string_view name(AccuracyMetric metric);
std::optional<AccuracyMetric> find_accuracy_metric(std::string_view name);

// How far a network may be from fp32, on data that was kept back for it.
struct AccuracyBudget {
  double most = 0;  // of the metric
  AccuracyMetric metric = AccuracyMetric::automatic;
  std::vector<Tensors> samples;  // values of all inputs, of the shapes that the network is built for
};

struct Distance {
  double top1 = 0, error = 0;
};

// One output in place of what it should be, over several runs.
class OutputDistance {
 public:
  void add(const Tensor& value, const Tensor& wanted);
  Distance distance() const;

 private:
  double noise_ = 0, signal_ = 0;
  int64_t positions_ = 0, moved_ = 0;
};

// The outputs of fp32 on the samples of a budget, and how far those of other engines are from them.
class Yardstick {
 public:
  // Errors: invalid (no samples; top1 of outputs that have no elements to choose among).
  static Result<Yardstick> make(const EngineData& fp32, const AccuracyBudget& budget);

  AccuracyMetric metric() const { return metric_; }      // not automatic
  const std::string& reason() const { return reason_; }  // why it is this one
  size_t samples() const { return wanted_.size(); }
  // On at most so many of the samples.
  Result<Distance> distance(const EngineData& engine, size_t most_samples = SIZE_MAX) const;
  double of_metric(const Distance& distance) const;

 private:
  explicit Yardstick(AccuracyBudget budget) : budget_(std::move(budget)) {}

  AccuracyBudget budget_;
  AccuracyMetric metric_ = AccuracyMetric::error;
  std::string reason_;
  std::vector<Tensors> wanted_;  // outputs of each sample
};

}  // namespace hone
