#include "calibrate/calibrate.h"

#include <algorithm>

#include "api/access.h"
#include "builder/options.h"
#include "builder/user_batches.h"
#include "calibrate/cache.h"
#include "calibrate/observed_model.h"
#include "hone/calibrate.h"

namespace hone {
namespace {

v0::Calibration to_public(const calibrate::RangeTable& table) {
  v0::Calibration result{.calibrator = table.calibrator};
  for (const auto& range : table.ranges)
    result.ranges.push_back({range.name, range.low, range.high, range.threshold(), range.channels, range.largest});
  return result;
}

calibrate::RangeTable to_table(const v0::Calibration& calibration) {
  calibrate::RangeTable table{calibration.calibrator, {}};
  for (const auto& range : calibration.ranges)
    table.ranges.push_back({range.name, range.low, range.high, range.channels, range.largest});
  return table;
}

Result<calibrate::Options> translate(const v0::CalibrationOptions& options) {
  calibrate::Options result{.calibrator = options.calibrator,
                            .parameters = {options.percentile, options.quantile, options.cutoff},
                            .rows = options.rows,
                            .limit = options.limit,
                            .progress = options.progress};
  HONE_TRY(result.compile,
           api::compile_options({.target = options.target, .shapes = options.shapes, .threads = options.threads}));
  return result;
}

Result<v0::Calibration> run(const std::string& model, v0::CalibrationData& data,
                            const v0::CalibrationOptions& options) {
  HONE_TRY(const calibrate::Options translated, translate(options));
  HONE_TRY(auto inputs, calibrate::inputs_of(model, translated.compile.shapes));
  UserBatches batches(data, std::move(inputs));
  HONE_TRY(calibrate::Report report, calibrate::calibrate(model, batches, translated));
  v0::Calibration result = to_public(report.table);
  result.warnings = std::move(report.warnings);
  result.samples = report.samples;
  return result;
}

Status save(const v0::Calibration& calibration, const std::string& path, std::string_view name) {
  const calibrate::CacheFormat* format =
      name.empty() ? &calibrate::cache_format_for(path) : calibrate::find_cache_format(name);
  if (format == nullptr) return invalid("there is no cache format '{}': it is tensorrt or onnxruntime", name);
  return calibrate::write_cache(to_table(calibration), path, *format);
}

Result<v0::Calibration> load(const std::string& path) {
  HONE_TRY(const auto table, calibrate::read_cache(path));
  return to_public(table);
}

Status check(const v0::Calibration& calibration, const std::string& model) {
  HONE_TRY(const auto tensors, calibrate::tensors_of(model, {}));
  return calibrate::check_complete(to_table(calibration), tensors).within(fmt::format("ranges for {}", model));
}

// A result of the public API from one of the room's own.
template <class T>
v0::Result<T> to_public(Result<T> result) {
  if (!result.ok()) return api::to_public(result.status());
  return std::move(*result);
}

}  // namespace

v0::CalibrationData::~CalibrationData() = default;
size_t v0::CalibrationData::count() const { return 0; }

v0::Result<v0::Calibration> v0::calibrate(const std::string& model, CalibrationData& data,
                                          const CalibrationOptions& options) {
  return to_public(api::guarded([&] { return run(model, data, options); }));
}

v0::Status v0::Calibration::save(const std::string& path, std::string_view format) const {
  return api::to_public(api::guarded([&] { return hone::save(*this, path, format); }));
}

v0::Result<v0::Calibration> v0::Calibration::load(const std::string& path) {
  return to_public(api::guarded([&] { return hone::load(path); }));
}

v0::Status v0::Calibration::check(const std::string& model) const {
  return api::to_public(api::guarded([&] { return hone::check(*this, model); }));
}

}  // namespace hone
