#pragma once

#include "calibrate/calibrate.h"
#include "calibrate/noise.h"

namespace hone::calibrate {

// What about the data or the network should make one doubt the ranges: one line each. `noise`: of each input.
std::vector<std::string> warnings_of(const Report& report, std::span<const Input> inputs,
                                     std::span<const NoiseTest> noise);

}  // namespace hone::calibrate
