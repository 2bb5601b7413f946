#pragma once

#include "ir/graph.h"

namespace hone {

// Says of products of i8 that what they read is never negative where that is proved: behind elementwise work whose
// bounds say so, as a relu's do, and what only moves its results. A CPU reads such bytes as u8.
void mark_nonnegative(Graph& graph);

}  // namespace hone
