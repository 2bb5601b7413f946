#pragma once

#include "ir/graph.h"

namespace hone {

// Why an op, or one in its bodies, gives other results in each run, whatever computes it; empty: it does not.
std::string_view variation_of(const Op& op);

// Errors: unsupported (nodes that give other results in each run; the message names all, those of bodies too).
Status refuse_variation(const Graph& graph);

}  // namespace hone
