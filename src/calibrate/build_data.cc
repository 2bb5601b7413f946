#include "calibrate/build_data.h"

#include <filesystem>

#include "base/file_map.h"
#include "calibrate/cache.h"
#include "calibrate/held_back.h"
#include "calibrate/spread.h"
#include "calibrate/thresholds.h"

namespace hone::calibrate {
namespace {

constexpr size_t kTypicalRuns = 64;  // at most

Status read_all(Batches& data, const Options& options) {
  for (size_t done = 0;;) {
    HONE_TRY(const auto batch, data.next());
    if (!batch) return {};
    if (options.progress && !options.progress(++done, data.count())) return {Code::cancelled, "cancelled"};
  }
}

}  // namespace

Sources sources_of(bool bytes, bool half, bool runs, const std::string& cache, bool has_data) {
  const bool wanted = bytes || half;
  Sources sources;
  sources.cache = wanted && !cache.empty() && (!has_data || std::filesystem::exists(cache));
  sources.ranges = wanted && !sources.cache && has_data;
  sources.data = has_data && (bytes || sources.ranges || runs);
  return sources;
}

Result<BuildData> collect(const std::string& model_path, Batches& data, const std::vector<Input>& inputs,
                          const BuildDataOptions& options) {
  const std::string& cache = options.cache;
  if (options.ranges && !cache.empty()) HONE_CHECK(check_writable(cache));
  BuildData result;
  HoldingBack parted(data, inputs);
  Remembering remembering(options.budget ? static_cast<Batches&>(parted) : data, inputs, kTypicalRuns);
  if (options.ranges) {
    HONE_TRY(Report report, calibrate(model_path, remembering, options.calibration));
    if (!cache.empty()) HONE_CHECK(write_cache(report.table, cache, cache_format_for(cache)));
    result.thresholds = thresholds_of(report.table);
    result.warnings = std::move(report.warnings);
  } else {
    HONE_CHECK(read_all(remembering, options.calibration));
  }
  result.typical = remembering.runs();
  result.held_back = parted.held();
  result.too_few = parted.too_few();
  return result;
}

}  // namespace hone::calibrate
