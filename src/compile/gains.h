#pragma once

#include <map>
#include <span>
#include <string>

#include "base/peaks.h"
#include "engine/engine_file.h"

namespace hone {

// What a smaller precision wins, by the framework's nodes.
struct Gains {
  std::map<std::string, double> won_us;       // in the steps that compute a node; negative: it is slower
  std::map<std::string, std::string> slower;  // nodes that are better left in the larger precision, and why
  double left_us = 0, network_us = 0;         // what leaving them should win, of how much

  // More than two timings of the same engine differ by.
  bool worth_trying() const { return !slower.empty() && left_us > 0.01 * network_us; }
};

// Runs both engines of a network, `reduced` with tensors in the `types` of precision `name`, and times their steps.
// Where casts are needed between layers they count as what `peaks` say, beside a step's least time; where nothing is
// known, layers that a tensor of these types joins are left together. Errors: those of runs.
Result<Gains> measure_gains(const EngineData& reduced, const EngineData& full, std::span<const DType> types,
                            std::string_view name, const Peaks& peaks);

}  // namespace hone
