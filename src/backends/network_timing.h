#pragma once

#include "engine/engine_file.h"

namespace hone {

// Microseconds of one run of the whole network with inputs in [-1, 1): the median of some, after a warm-up; on a GPU
// without the copies of inputs and outputs. Errors: unsupported (an input whose dims are open), and those of a run.
Result<double> time_network_us(const EngineData& engine);

}  // namespace hone
