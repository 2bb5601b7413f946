#pragma once

#include <map>

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// Of the graph's tensors, by name: the magnitude that int8 is to reach, see calibrate/ranges.h.
using Thresholds = std::map<std::string, double>;

// Why a convolution or matrix product with constant weights stays in floats.
struct Unquantized {
  std::string node;
  std::string reason;
};

// Computes in int8, with sums in i32, the convolutions and matrix products with constant weights that a kernel of the
// machine can, where a range is known for what they read. Weights are quantised for each output channel, activations
// for each tensor, both symmetrically: q = clip(round(x * (127 / threshold)), -128, 127). What else reads a quantised
// tensor elementwise, as a residual sum does, reads the quantised values too, so that a layer writes no other ones.
// Maximum pooling, concatenations and movements of such tensors are done on int8.
std::vector<Unquantized> quantize(Graph& graph, const Thresholds& thresholds, const Machine& machine);

}  // namespace hone
