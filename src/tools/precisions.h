#pragma once

#include "engine/program.h"

namespace hone::tools {

// The layers that int8 or fp8 was considered for, as a table, and what was decided about the whole; nothing where it
// was not.
void print_precisions(const BuildSummary& build);

}  // namespace hone::tools
