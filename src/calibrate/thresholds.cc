#include "calibrate/thresholds.h"

#include "calibrate/cache.h"
#include "calibrate/observed_model.h"

namespace hone::calibrate {

Thresholds thresholds_of(const RangeTable& table) {
  Thresholds thresholds;
  for (const TensorRange& range : table.ranges)
    thresholds[range.name] = {range.threshold(), range.channels, range.largest};
  return thresholds;
}

Result<Thresholds> read_thresholds(const std::string& cache, const std::string& model,
                                   const std::map<std::string, Dims>& shapes) {
  HONE_TRY(const RangeTable table, read_cache(cache));
  HONE_TRY(const auto tensors, tensors_of(model, shapes));
  HONE_CHECK(check_complete(table, tensors).within(fmt::format("{}: for {}", cache, model)));
  return thresholds_of(table);
}

}  // namespace hone::calibrate
