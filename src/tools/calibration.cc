#include "tools/calibration.h"

#include <unistd.h>

#include <filesystem>

#include "calibrate/cache.h"
#include "calibrate/observed_model.h"
#include "calibrate/thresholds.h"
#include "tools/interrupt.h"

namespace hone::tools {
namespace {

using namespace hone::calibrate;

// The data says how large the inputs are.
Result<RangeTable> collect(const ModelOptions& model, const Output& output) {
  Options options{.calibrator = model.calibrator};
  ModelOptions fp32 = model;
  fp32.precisions = {"fp32"};
  fp32.shapes.clear();
  HONE_TRY(options.compile, fp32.compile_options());
  options.compile.target = "cpu";
  options.compile.cuda_arch = {};
  HONE_TRY(Report report, run_calibration(model.model, model.calibration_data, model.preprocess, options, output));
  return std::move(report.table);
}

}  // namespace

Result<Report> run_calibration(const std::string& model, const std::string& data, const std::string& preprocess,
                               Options options, const Output& output) {
  const bool terminal = isatty(STDERR_FILENO) && !output.quiet;
  options.progress = [terminal](size_t done, size_t total) {
    if (terminal && total > 0) show_progress("calibrating", done, total);
    return !interrupted();
  };
  std::optional<Preprocess> how;
  if (!preprocess.empty()) {
    HONE_TRY(how, preprocess_from_text(preprocess));
  }
  HONE_TRY(auto inputs, inputs_of(model, options.compile.shapes));
  HONE_TRY(const auto batches, open_data(data, model, std::move(inputs), how));
  HONE_TRY(Report report, hone::calibrate::calibrate(model, *batches, options));
  for (const std::string& warning : report.warnings)
    if (!output.quiet) fmt::print(stderr, "hone: warning: {}\n", warning);
  return report;
}

Result<Thresholds> thresholds_of(const ModelOptions& model, const std::map<std::string, Dims>& shapes,
                                 const Output& output) {
  const std::string& cache = model.calibration_cache;
  const bool read = !cache.empty() && std::filesystem::exists(cache);
  if (!read && model.calibration_data.empty())
    return cache.empty() ? invalid("--precision int8 needs ranges: give --calibrate DATA or --calibration-cache FILE")
                         : invalid("{}: there is no such calibration cache: give --calibrate DATA to make it", cache);
  if (read) return read_thresholds(cache, model.model, shapes);
  if (!cache.empty()) HONE_CHECK(check_writable(cache));
  HONE_TRY(const RangeTable table, collect(model, output));
  if (!cache.empty()) HONE_CHECK(write_cache(table, cache, cache_format_for(cache)));
  return hone::calibrate::thresholds_of(table);
}

}  // namespace hone::tools
