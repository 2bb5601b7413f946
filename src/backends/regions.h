#pragma once

#include <set>
#include <span>

#include "engine/program.h"

namespace hone {

// A step of one of two engines of the same network, one of them with a smaller precision, mostly int8.
struct TimedStep {
  std::vector<std::string> sources;  // framework nodes
  std::vector<int> integers;         // slots of i8 that it reads or writes
  double us = 0;
};

// Steps of both engines that compute the same framework nodes, with all that they share tensors of int8 with: the
// quantising and dequantising around a layer too. What is timed can be compared, and chosen, only as a whole.
struct Region {
  std::set<std::string> sources;
  double integers_us = 0, floats_us = 0;
};
std::vector<Region> regions_of(std::span<const TimedStep> integers, std::span<const TimedStep> floats);

// The steps of a program as they took these times. `joined`: by the tensors of int8 between them.
std::vector<TimedStep> timed_steps(const Program& program, std::span<const double> us, bool joined);

}  // namespace hone
