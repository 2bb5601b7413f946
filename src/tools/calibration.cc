#include "tools/calibration.h"

#include <unistd.h>

#include <filesystem>

#include "base/counted.h"
#include "base/file_map.h"
#include "calibrate/build_data.h"
#include "calibrate/cache.h"
#include "calibrate/held_back.h"
#include "calibrate/observed_model.h"
#include "calibrate/thresholds.h"
#include "tools/interrupt.h"

namespace hone::tools {
namespace {

using namespace hone::calibrate;

constexpr size_t kFewSamples = 8;

// The data, opened for one way through it.
Result<std::unique_ptr<Batches>> open(const std::string& model, const std::string& data, const std::string& preprocess,
                                      const std::vector<Input>& inputs) {
  std::optional<Preprocess> how;
  if (!preprocess.empty()) {
    HONE_TRY(how, preprocess_from_text(preprocess));
  }
  return open_data(data, model, inputs, how);
}

std::function<bool(size_t, size_t)> progress(const Output& output) {
  const bool terminal = isatty(STDERR_FILENO) && !output.quiet;
  return [terminal](size_t done, size_t total) {
    if (terminal && total > 0) show_progress("calibrating", done, total);
    return !interrupted();
  };
}

void warn_all(const std::vector<std::string>& warnings, const Output& output) {
  for (const std::string& warning : warnings) warn(output, warning);
}

// Of the fp32 network, whose inputs are as large as the data says, on the device of the build.
Result<Options> options_of(const ModelOptions& model) {
  Options options{.calibrator = model.calibrator};
  ModelOptions fp32 = model;
  fp32.precisions.clear();
  fp32.shapes.clear();
  fp32.accuracy_budget.clear();
  HONE_TRY(options.compile, fp32.compile_options());
  options.compile.target = target_for(options.compile);
  options.compile.cuda_arch = {};
  return options;
}

// `shapes`: of the build. Arrays may have others; images are made as large.
Result<BuildData> from_data(const ModelOptions& model, const std::map<std::string, Dims>& shapes, bool ranges,
                            bool budget, const Output& output) {
  BuildDataOptions options{.ranges = ranges, .cache = model.calibration_cache, .budget = budget};
  HONE_TRY(options.calibration, options_of(model));
  options.calibration.progress = progress(output);
  HONE_TRY(const auto inputs, inputs_of(model.model, options.calibration.compile.shapes));
  HONE_TRY(const auto sized, inputs_of(model.model, shapes));
  HONE_TRY(const auto whole, open(model.model, model.calibration_data, model.preprocess, sized));
  HONE_TRY(BuildData data, collect(model.model, *whole, inputs, options));
  warn_all(data.warnings, output);
  if (data.too_few)
    warn(output, fmt::format("{}: too few samples to keep some back: the accuracy is measured on those that the ranges "
                             "are from",
                             model.calibration_data));
  return data;
}

}  // namespace

Result<Report> run_calibration(const std::string& model, const std::string& data, const std::string& preprocess,
                               Options options, const Output& output) {
  HONE_TRY(const auto inputs, inputs_of(model, options.compile.shapes));
  HONE_TRY(const auto batches, open(model, data, preprocess, inputs));
  options.progress = progress(output);
  HONE_TRY(Report report, hone::calibrate::calibrate(model, *batches, options));
  warn_all(report.warnings, output);
  return report;
}

Result<BuildData> calibrated(const ModelOptions& model, const std::map<std::string, Dims>& shapes,
                             const Output& output) {
  const std::string& cache = model.calibration_cache;
  const bool bytes = model.allows("int8") || model.allows("fp8"), budget = !model.accuracy_budget.empty();
  const bool has_data = !model.calibration_data.empty();
  const Sources sources = sources_of(bytes, model.allows("fp16"), budget || model.weights.given(), cache, has_data);
  if (budget && !has_data)
    return invalid("--accuracy-budget is measured on data: give --calibrate DATA{}",
                   cache.empty() ? "" : ", beside the calibration cache");
  if (bytes && cache.empty() && !has_data)
    return invalid("--precision {} needs ranges: give --calibrate DATA or --calibration-cache FILE",
                   model.allows("int8") ? "int8" : "fp8");
  if (sources.cache && !std::filesystem::exists(cache))
    return invalid("{}: there is no such calibration cache: give --calibrate DATA to make it", cache);
  BuildData result;
  if (sources.data) {
    HONE_TRY(result, from_data(model, shapes, sources.ranges, budget, output));
  }
  if (sources.cache) {
    HONE_TRY(result.thresholds, read_thresholds(cache, model.model, shapes));
  }
  return result;
}

Result<std::vector<Tensors>> budget_samples(const Graph& graph, std::span<const Tensors> held_back,
                                            const Output& output) {
  std::vector<Tensors> samples = fitted(held_back, graph);
  if (samples.empty())
    return invalid("--accuracy-budget: of {} kept back none has the shapes that the engine is built for",
                   counted(held_back.size(), "sample"));
  if (held_back.size() < kFewSamples)
    warn(output, fmt::format("the accuracy is measured on {} alone: more would tell more",
                             counted(held_back.size(), "sample")));
  return samples;
}

}  // namespace hone::tools
