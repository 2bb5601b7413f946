#pragma once

#include <functional>
#include <set>
#include <span>

#include "engine/program.h"

namespace hone {

// An engine, and what each of its steps took.
struct TimedProgram {
  const Program& program;
  std::span<const double> us;
};

// Steps of two engines of the same network, one of them with a smaller precision, that compute the same framework
// nodes: what is timed can be compared only as a whole.
struct Region {
  std::set<std::string> sources;  // framework nodes; none where a step only converts
  double reduced_us = 0, full_us = 0;
  bool reduced = true;  // whether it belongs in the smaller precision
  bool shares = false;  // whether it makes or reads a tensor of the smaller type; else nothing is to be chosen
};

// Microseconds that it takes to convert a tensor of so many elements.
using ConversionUs = std::function<double(double elements)>;

// The regions, in the order in which the first engine begins them. Those are to leave the smaller precision without
// which the network takes the least time, by the times of the steps: a tensor that lies in one of the `types` in the
// first engine is converted, once, where the region that makes it and one that reads it are not of the same precision.
// A region that has none is the same in both, whatever its times; it is left alone.
// It is found as the minimal cut of a graph.
std::vector<Region> regions_of(const TimedProgram& reduced, const TimedProgram& full, std::span<const DType> types = {},
                               const ConversionUs& conversion_us = {});

}  // namespace hone
