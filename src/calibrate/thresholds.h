#pragma once

#include "base/magnitude.h"
#include "calibrate/ranges.h"
#include "ir/type.h"

namespace hone::calibrate {

Thresholds thresholds_of(const RangeTable& table);

// Of a cache. Errors: invalid (missing, broken, or without ranges that a calibration of the model would find).
Result<Thresholds> read_thresholds(const std::string& cache, const std::string& model,
                                   const std::map<std::string, Dims>& shapes);

}  // namespace hone::calibrate
