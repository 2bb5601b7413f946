#pragma once

#include <map>
#include <set>
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

  std::set<std::string> slower_layers() const {
    std::set<std::string> layers;
    for (const auto& [layer, why] : slower) layers.insert(layer);
    return layers;
  }
  // More than two timings of the same engine differ by.
  bool worth_trying() const { return !slower.empty() && left_us > 0.01 * network_us; }
};

// Compares the steps of two engines of a network, `reduced` with tensors in the `types` of precision `name`: as they
// were tuned where all of both run on a GPU, else by running them. Where casts are needed between layers they count as
// what `peaks` say, beside a step's least time; where nothing is known, layers that a tensor of these types joins are
// left together. Errors: those of runs.
Result<Gains> measure_gains(const EngineData& reduced, const EngineData& full, std::span<const DType> types,
                            std::string_view name, const Peaks& peaks);

}  // namespace hone
