#pragma once

#include "engine/program.h"
#include "plan/memory.h"

namespace hone {

// Puts a program's slots of the arena and the workspaces of its steps where they do not disturb each other, and sums
// the memory up. `lives`: of each slot, without its size; of those outside the arena it is not looked at.
void plan_arena(Program& program, std::span<const Lifetime> lives, const Schedule* schedule = nullptr);

}  // namespace hone
