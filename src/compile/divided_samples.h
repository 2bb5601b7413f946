#pragma once

#include "compile/piecewise.h"

namespace hone {

// Typical inputs: from some an int8 network is made, and the others judge it. Of eight and more every fourth judges, of
// fewer all do both.
struct DividedSamples {
  std::vector<Tensors> corrects, judges;
};
DividedSamples divided(const Graph& graph, std::span<const Tensors> samples);

}  // namespace hone
