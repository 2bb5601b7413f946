#pragma once

#include <functional>

#include "engine/engine_file.h"

namespace hone {

// Microseconds of one run of the whole network with inputs in [-1, 1): the median of some, after a warm-up; on a GPU
// without the copies of inputs and outputs. Errors: unsupported (an input whose dims are open), and those of a run.
Result<double> time_network_us(const EngineData& engine);

// Microseconds of a run of the whole network.
using TimeNetwork = std::function<Result<double>(const EngineData&)>;

// `changed` where it is faster than `engine`, which computes the same, else `engine`. Appends to `notes` what was
// measured: "the network takes .. with CHANGE, .. without: ..". A network that fails as it is timed, which it may on
// random data, stays as it was.
EngineData faster_of(EngineData changed, EngineData engine, const std::string& change, const TimeNetwork& time_us,
                     std::vector<std::string>& notes);

// Of each step, all its iterations in a run together: the medians of some runs. On a GPU each step is waited for, which
// adds the time of its launch.
Result<std::vector<double>> time_steps_us(const EngineData& engine);

}  // namespace hone
