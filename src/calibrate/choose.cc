#include "calibrate/choose.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/copy.h"
#include "calibrate/consumers.h"

namespace hone::calibrate {
namespace {

// What `auto` tries on each tensor.
struct Candidate {
  std::string_view name;
  double (*threshold)(const Histogram& magnitudes, const CalibratorOptions& options);
  CalibratorOptions parameters;
};
constexpr Candidate kCandidates[] = {
    {"minmax", minmax_threshold, {}},
    {"percentile 99.9999", percentile_threshold, {.percentile = 99.9999}},
    {"percentile 99.999", percentile_threshold, {.percentile = 99.999}},
    {"percentile 99.99", percentile_threshold, {.percentile = 99.99}},
    {"percentile 99.9", percentile_threshold, {.percentile = 99.9}},
    {"entropy", entropy_threshold, {}},
    {"mse", mse_threshold, {}},
};

struct Threshold {
  std::string_view calibrator;
  double value;
};
using Thresholds = std::vector<Threshold>;

// Different thresholds, the largest first.
Thresholds candidates_of(const Histogram& magnitudes) {
  Thresholds all;
  for (const Candidate& c : kCandidates) all.push_back({c.name, c.threshold(magnitudes, c.parameters)});
  std::ranges::stable_sort(all, std::greater(), &Threshold::value);
  const auto same = [](const Threshold& a, const Threshold& b) { return a.value == b.value; };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return all;
}

std::vector<double> magnitudes_of(const ChannelStatistics& channels) {
  std::vector<double> magnitudes;
  for (size_t c = 0; c < channels.low.size(); ++c)
    magnitudes.push_back(std::max(std::fabs(channels.low[c]), std::fabs(channels.high[c])));
  return magnitudes;
}

// A tensor of zeros keeps its zeros whatever the range.
TensorRange range_of(const std::string& name, const Statistics& s, double t) {
  if (t == 0) return {name, 0, 1};
  TensorRange range{name, std::max(static_cast<double>(s.low), -t), std::min(static_cast<double>(s.high), t)};
  range.largest = s.largest();
  range.channels = magnitudes_of(s.channels);
  return range;
}

bool has_range(const Statistics& s) { return s.finite() && !s.empty(); }

// Keeps the candidate with the least error, the largest of equals.
void keep_best(Thresholds& candidates, std::span<const double> errors) {
  candidates = {candidates[static_cast<size_t>(std::ranges::min_element(errors) - errors.begin())]};
}

void keep_best_of_tensor(Thresholds& candidates, const Histogram& magnitudes) {
  std::vector<double> errors;
  for (const Threshold& c : candidates) errors.push_back(rounding_error(magnitudes, c.value));
  keep_best(candidates, errors);
}

// A tensor that layers read, and the error that each of its candidates makes in them.
struct Trial {
  size_t report, tensor;           // its places in the reports and in the model
  std::set<size_t> needs;          // tensors of the model
  std::vector<double> magnitudes;  // of its channels
  std::vector<double> thresholds, errors;
};

// Trials while a run makes its tensors: each as soon as all that it needs is there, a few at once, and what no other
// needs any more goes.
class TrialsOfRun {
 public:
  TrialsOfRun(Consumers& consumers, cpu::ThreadPool& pool, std::span<Trial> trials, size_t tensors)
      : consumers_(consumers), pool_(pool), trials_(trials), values_(tensors), readers_(tensors) {
    for (size_t t = 0; t < trials.size(); ++t) {
      missing_.push_back(trials[t].needs.size());
      for (const size_t k : trials[t].needs) readers_[k].insert(t);
    }
  }

  Status take(size_t k, const Tensor& values) {
    if (readers_[k].empty()) return {};
    values_[k] = copied(values);
    for (const size_t t : readers_[k])
      if (--missing_[t] == 0) ready_.push_back(t);
    return std::ssize(ready_) < pool_.size() ? Status() : finish();
  }

  // Those that are ready.
  Status finish() {
    std::vector<Status> status(ready_.size());
    pool_.parallel(std::ssize(ready_), [&](int64_t task, int) {
      Trial& trial = trials_[ready_[static_cast<size_t>(task)]];
      status[static_cast<size_t>(task)] =
          consumers_.add_errors(trial.tensor, values_, trial.magnitudes, trial.thresholds, trial.errors);
    });
    for (const size_t t : std::exchange(ready_, {}))
      for (const size_t k : trials_[t].needs) {
        readers_[k].erase(t);
        if (readers_[k].empty()) values_[k] = Tensor();
      }
    for (const Status& s : status) HONE_CHECK(s);
    return {};
  }

 private:
  Consumers& consumers_;
  cpu::ThreadPool& pool_;
  std::span<Trial> trials_;
  Tensors values_;                         // of the model, where they are needed
  std::vector<std::set<size_t>> readers_;  // trials that are still to read a tensor
  std::vector<size_t> missing_;            // tensors of a trial that are not there yet
  std::vector<size_t> ready_;
};

Status choose_automatically(ObservedModel& model, std::span<const std::vector<Tensor>> runs,
                            const CompileOptions& compile, cpu::ThreadPool& pool, std::span<const TensorReport> reports,
                            std::vector<Thresholds>& candidates) {
  Consumers consumers(model, compile);
  std::map<std::string_view, size_t> places;
  for (size_t k = 0; k < model.tensors().size(); ++k) places.emplace(model.tensors()[k].name, k);
  std::vector<Trial> trials;
  for (size_t i = 0; i < reports.size(); ++i) {
    if (candidates[i].size() < 2) continue;
    const auto place = places.find(reports[i].name);
    if (place == places.end() || !consumers.has(place->second)) {
      keep_best_of_tensor(candidates[i], reports[i].statistics.magnitudes);
      continue;
    }
    Trial& trial = trials.emplace_back(Trial{i,
                                             place->second,
                                             consumers.needs(place->second),
                                             magnitudes_of(reports[i].statistics.channels),
                                             {},
                                             std::vector<double>(candidates[i].size())});
    for (const Threshold& c : candidates[i]) trial.thresholds.push_back(c.value);
  }
  for (size_t run = 0; run < runs.size() && !trials.empty(); ++run) {
    TrialsOfRun of_run(consumers, pool, trials, model.tensors().size());
    HONE_CHECK(model.run(runs[run], [&](size_t k, const Tensor& values) { return of_run.take(k, values); }));
    HONE_CHECK(of_run.finish());
  }
  for (const Trial& trial : trials) keep_best(candidates[trial.report], trial.errors);
  return {};
}

}  // namespace

Status choose_ranges(ObservedModel& model, std::span<const std::vector<Tensor>> runs, const Options& options,
                     cpu::ThreadPool& pool, std::vector<TensorReport>& reports) {
  const Calibrator* calibrator = find_calibrator(options.calibrator);
  std::vector<Thresholds> thresholds(reports.size());
  pool.parallel(static_cast<int64_t>(reports.size()), [&](int64_t task, int) {
    const auto k = static_cast<size_t>(task);
    const Statistics& s = reports[k].statistics;
    if (!has_range(s)) return;
    if (calibrator == nullptr) thresholds[k] = candidates_of(s.magnitudes);
    else thresholds[k] = {{calibrator->name, calibrator->threshold(s.magnitudes, options.parameters)}};
  });
  if (calibrator == nullptr) HONE_CHECK(choose_automatically(model, runs, options.compile, pool, reports, thresholds));
  for (size_t k = 0; k < reports.size(); ++k) {
    if (thresholds[k].empty()) continue;
    reports[k].calibrator = thresholds[k][0].calibrator;
    reports[k].range = range_of(reports[k].name, reports[k].statistics, thresholds[k][0].value);
  }
  return {};
}

}  // namespace hone::calibrate
