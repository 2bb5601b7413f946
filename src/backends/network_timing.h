#pragma once

#include <functional>

#include "engine/engine_file.h"
#include "tune/cache.h"

namespace hone {

// Microseconds of one run of the whole network with inputs in [-1, 1): the median of some, after a warm-up; on a GPU
// without the copies of inputs and outputs. Errors: unsupported (an input whose dims are open), and those of a run.
Result<double> time_network_us(const EngineData& engine);

// The same of a network that an earlier build with this cache has timed on this GPU: what it took then. On a CPU, whose
// clock and neighbours change more, all are timed.
Result<double> network_us(const EngineData& engine, TacticCache& cache);

// Microseconds of a run of the whole network.
using TimeNetwork = std::function<Result<double>(const EngineData&)>;

// What a change to a network does to its time.
struct Comparison {
  bool faster = false;
  std::string note;  // "the network takes .. with CHANGE, .. without: ..", or why that is not known
  Status failure;    // of what could not be timed: on random data a network may fail
};
// `changed` computes what `engine` does.
Comparison compare(const EngineData& changed, const EngineData& engine, const std::string& change,
                   const TimeNetwork& time_us);

// Of each step, all its iterations in a run together: the medians of some runs. On a GPU each step is waited for, which
// adds the time of its launch.
Result<std::vector<double>> time_steps_us(const EngineData& engine);

}  // namespace hone
