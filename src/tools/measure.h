#pragma once

#include <vector>

#include "runtime/context.h"
#include "tools/inputs.h"

namespace hone::tools {

struct Measurement {
  std::vector<double> times_ms;  // of single runs, sorted; of all streams
  double runs_per_s = 0;         // of all streams together

  double mean() const;
  double quantile(double q) const;
};

// Where the inputs and outputs of a run lie. On a device (a GPU engine's), times are those that the GPU takes for the
// steps, without copies and launch.
enum class Io { host, device };

// Puts the inputs into a GPU's memory, and has the outputs stay there.
Status bind_on_device(ExecutionContext& context, const NamedTensors& inputs);

// Runs `streams` contexts of one engine at once, each on a thread of its own with its own `inputs`: for `warm_up_s`,
// then together for `duration_s` and at least three runs.
Result<Measurement> measure(const std::shared_ptr<const LoadedEngine>& engine, const NamedTensors& inputs, int streams,
                            Io io, double warm_up_s, double duration_s);

}  // namespace hone::tools
