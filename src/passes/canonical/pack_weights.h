#pragma once

#include "ir/graph.h"

namespace hone {

// Whether a product by these weights may also be one of integers: Dequantize of 8 bits without blocks.
bool may_be_integers(const Graph& graph, ValueId weights);

// A MatMul by a constant that Dequantize makes floats of (i4, u4, i8 or u8, with one scale for all, one for each output
// channel, or one for each block along the sums) -> MatMulNBits, whose weights stay as small as they are. A constant on
// the left: a product of transposes. False where there is nothing to do.
bool pack_weights_of(Graph& graph, NodeId id);

}  // namespace hone
