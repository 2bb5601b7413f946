#pragma once

#include <string>
#include <vector>

#include "engine/program.h"

namespace hone::tools {

// A run of the arena's bytes and the steps during which it holds a value or a workspace, both ends included.
struct ArenaBlock {
  std::string name;
  int64_t offset = 0, bytes = 0;
  size_t first = 0, last = 0;
  bool workspace = false;
};

// Every value that owns memory of the arena, with the uses of its views, then the workspaces.
std::vector<ArenaBlock> arena_blocks(const Program& program);

// An SVG element that shows the blocks: steps to the right, offsets upwards. Empty when there is no arena.
std::string memory_svg(const Program& program);

}  // namespace hone::tools
