#pragma once

#include "ops/control.h"
#include "tactics/tactic.h"

namespace hone {

// The bodies of an op that is run as steps; none when it is another op, or one that only its reference can run.
std::vector<ControlBody> lowered_bodies(const Problem& problem);

}  // namespace hone
