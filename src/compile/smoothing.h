#pragma once

#include "backends/quantize.h"
#include "compile/compile.h"

namespace hone {

// The int8 network that quantize() makes of `floats` into `integers`, with the exponent, of a few, by which the outputs
// are closest to fp32 on every fourth of options.samples (all, where there are fewer than eight): how much of a
// channel's scale the weights can hold differs from network to network. Without samples, and where no tensor has scales
// for its channels, the usual exponent. Runs on the CPU. `in_floats`: layers that are to stay in floats.
Result<Int8Network> quantize_smoothly(const Graph& floats, const CompileOptions& options, const Machine& machine,
                                      const std::set<std::string>& in_floats, Graph& integers);

}  // namespace hone
