#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/context.h"

namespace hone::tools {

// One execution of a step, in microseconds since the profile began.
struct StepRun {
  size_t step = 0;
  double start_us = 0, duration_us = 0;
};

// A whole run with the steps that it executed, those of a loop's body once an iteration.
struct ProfiledRun {
  double start_us = 0, duration_us = 0;
  std::vector<StepRun> steps;
};

// The trace event format that Chrome (about:tracing) and Perfetto read: one process, with a track for the runs, one for
// the steps on the CPU and one for those on the GPU.
nlohmann::json chrome_trace(const std::string& title, const LoadedEngine& engine, const std::vector<ProfiledRun>& runs);

}  // namespace hone::tools
