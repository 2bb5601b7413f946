#pragma once

#include "engine/engine_file.h"

namespace hone {

// Microseconds of one run of the whole network with inputs in [-1, 1): the median of some, after a warm-up; on a GPU
// without the copies of inputs and outputs. Errors: unsupported (an input whose dims are open), and those of a run.
Result<double> time_network_us(const EngineData& engine);

// Of each step, all its iterations in a run together: the medians of some runs. On a GPU each step is waited for, which
// adds the time of its launch.
Result<std::vector<double>> time_steps_us(const EngineData& engine);

}  // namespace hone
