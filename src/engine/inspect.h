#pragma once

#include "engine/program.h"

namespace hone {

// What a program does, as users see it: the JSON of `hone inspect --json` and of the API.
std::string inspect_json(const Program& program);

}  // namespace hone
