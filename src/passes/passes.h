#pragma once

#include <span>

#include "passes/manager.h"

namespace hone {

#define PASS(name) Result<int> name(Graph& graph, int limit);
#include "passes/passes.inc"
#undef PASS

// Every pass, in the order of passes.inc.
std::span<const Pass> all_passes();

}  // namespace hone
