#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// What a model computes on bytes, in the form that the machine has kernels for: a product of u8 by constant i8 as one
// of i8, where only that has a kernel; one of e4m3 as one of the same numbers in f32, on a CPU; DynamicQuantize as the
// ops that it consists of, where it has none. Results stay the same. True when there was anything to do.
bool adapt_byte_products(Graph& graph, const Machine& machine);

}  // namespace hone
