#pragma once

#include "backends/network_timing.h"
#include "plan/memory.h"

namespace hone {

// Gives the steps of a program to at most `most` streams, and plans the arena anew for what may then run at once.
// Returns how many have steps: 1, and the program as it was, where a step runs on the CPU or nothing can run at once.
int assign_streams(Program& program, int most);

// Plans the arena of a CPU's program in which streams of steps with one thread run side by side. Of `lives`, one a
// slot, the uses are the first and the last.
void plan_branches(Program& program, std::vector<Lifetime> lives);

// Takes the number of streams with which the network is fastest: 1, 2, or where those are faster and more steps can run
// at once, kMostStreams. What was measured is noted; a network that fails as it is timed, which it may on random data,
// stays in one.
void choose_streams(EngineData& engine, const TimeNetwork& time_us);

}  // namespace hone
