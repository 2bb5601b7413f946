#include "calibrate/calibrate.h"

#include <algorithm>
#include <list>

#include "base/thread_pool.h"
#include "calibrate/choose.h"
#include "calibrate/noise.h"
#include "calibrate/observed_model.h"
#include "calibrate/pieces.h"
#include "calibrate/spread.h"
#include "calibrate/warnings.h"

namespace hone::calibrate {
namespace {

constexpr size_t kMostNetworks = 4;  // for inputs of different shapes, kept ready
constexpr size_t kHeldRuns = 8;      // at most so many inputs are kept for `auto` to run again

bool alike(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, [](const Tensor& x, const Tensor& y) { return x.dims() == y.dims(); });
}

Status check_options(const Options& options) {
  if (options.calibrator != kAuto && find_calibrator(options.calibrator) == nullptr) {
    std::string names{kAuto};
    for (const Calibrator& c : calibrators()) names += fmt::format(", {}", c.name);
    return invalid("there is no calibrator '{}': it is {}", options.calibrator, names);
  }
  if (options.rows < 0 || options.limit < 0)
    return invalid("the rows of a run and the number of samples must not be negative");
  return check(options.parameters);
}

class Calibration {
 public:
  Calibration(const std::string& path, std::vector<Input> inputs, const Options& options)
      : path_(path),
        inputs_(std::move(inputs)),
        noise_(inputs_.size()),
        options_(options),
        pool_(options.compile.threads) {}

  Status observe_all(Batches& data) {
    for (size_t done = 0; options_.limit == 0 || report_.samples < options_.limit; ++done) {
      HONE_TRY(const auto batch, data.next());
      if (!batch) break;
      HONE_TRY(const Pieces pieces, cut(*batch, inputs_, options_.rows));
      report_.samples += pieces.samples;
      for (const auto& run : pieces.runs) HONE_CHECK(observe(run, batch->source));
      if (options_.progress && !options_.progress(done + 1, data.count())) return {Code::cancelled, "cancelled"};
    }
    return report_.samples == 0 ? invalid("there is no calibration data") : Status();
  }

  Result<Report> finish() {
    for (const Network& n : networks_) HONE_CHECK(retire(*n.model));
    if (report_.tensors.empty())
      return unsupported("{}: has no tensor to calibrate: only floats outside the bodies of If, Loop and Scan are",
                         path_);
    HONE_TRY(ObservedModel* const model, network(held_.runs()[0]));
    HONE_CHECK(choose_ranges(*model, held_.runs(), options_, pool_, report_.tensors));
    report_.table.calibrator = options_.calibrator;
    for (const TensorReport& t : report_.tensors)
      if (!t.calibrator.empty()) report_.table.ranges.push_back(t.range);
    report_.warnings = warnings_of(report_, inputs_, noise_);
    return std::move(report_);
  }

 private:
  struct Network {
    std::vector<Dims> shapes;
    std::unique_ptr<ObservedModel> model;
  };

  std::map<std::string, Dims> named_shapes(const std::vector<Tensor>& inputs) const {
    std::map<std::string, Dims> named = options_.compile.shapes;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].defined() && inputs[i].type() != DType::sequence) named[inputs_[i].name] = inputs[i].dims();
    return named;
  }

  // The network for inputs of these shapes, compiled when there is none.
  Result<ObservedModel*> network(const std::vector<Tensor>& inputs) {
    std::vector<Dims> shapes;
    shapes.reserve(inputs.size());
    for (const Tensor& t : inputs) shapes.push_back(t.dims());
    for (auto it = networks_.begin(); it != networks_.end(); ++it) {
      if (it->shapes != shapes) continue;
      networks_.splice(networks_.begin(), networks_, it);
      return networks_.front().model.get();
    }
    if (networks_.size() == kMostNetworks) {
      HONE_CHECK(retire(*networks_.back().model));
      networks_.pop_back();
    }
    HONE_TRY(auto model, ObservedModel::make(path_, named_shapes(inputs), options_.compile));
    for (const ObservedTensor& t : model->tensors()) {
      const auto [place, added] = places_.emplace(t.name, report_.tensors.size());
      if (added) report_.tensors.push_back({.name = t.name, .node = t.node});
    }
    networks_.push_front({std::move(shapes), std::move(model)});
    return networks_.front().model.get();
  }

  // Takes over what a network has seen.
  Status retire(ObservedModel& model) {
    HONE_TRY(const auto statistics, model.take_statistics());
    for (size_t k = 0; k < statistics.size(); ++k)
      report_.tensors[places_.at(model.tensors()[k].name)].statistics.merge(statistics[k]);
    return {};
  }

  Status observe(const std::vector<Tensor>& inputs, const std::string& source) {
    const auto found = network(inputs);
    if (!found.ok()) return found.status().code() == Code::invalid ? found.status().within(source) : found.status();
    ObservedModel* const model = *found;
    const auto seen = model->observe(inputs, pool_);
    if (!seen.ok()) return seen.status().within(source);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].defined()) noise_[i].observe(inputs[i]);
    if (held_.runs().empty() || alike(inputs, held_.runs()[0])) held_.offer(inputs);
    if (std::ranges::none_of(*seen, [](const ObservedModel::Seen& s) { return s.odd.nans > 0; })) return {};
    const auto first = std::ranges::find_if(*seen, [](const ObservedModel::Seen& s) { return s.odd.any(); });
    const ObservedTensor& tensor = model->tensors()[static_cast<size_t>(first - seen->begin())];
    HONE_TRY(std::string cause, broken_constant(path_, named_shapes(inputs), tensor.name));
    if (cause.empty()) cause = "leave such data out";
    return invalid("{}: {}: tensor '{}' holds {} NaN and {} infinite values of {} when run on {}: {}", path_,
                   tensor.node, tensor.name, first->odd.nans, first->odd.infinities, first->values, source, cause);
  }

  std::string path_;
  std::vector<Input> inputs_;
  std::vector<NoiseTest> noise_;
  const Options& options_;
  cpu::ThreadPool pool_;
  std::list<Network> networks_;           // the last used first
  std::map<std::string, size_t> places_;  // of tensors in the report
  Spread held_{kHeldRuns};                // of the first shapes
  Report report_;
};

}  // namespace

std::string target_for(const CompileOptions& build) {
  return build.cuda_arch.empty() && build.target != "reference" ? build.target : "cpu";
}

Result<Report> calibrate(const std::string& model_path, Batches& data, const Options& options) {
  HONE_CHECK(check_options(options));
  HONE_TRY(auto inputs, inputs_of(model_path, options.compile.shapes));
  Calibration calibration(model_path, std::move(inputs), options);
  HONE_CHECK(calibration.observe_all(data));
  return calibration.finish();
}

}  // namespace hone::calibrate
