#pragma once

#include "engine/program.h"

namespace hone {

// The program as readable JSON, and back. The reader checks every index, offset and type.
std::string to_json(const Program& program);
Result<Program> program_from_json(std::string_view text);

// Whether memory of type `a` may be read as `b`, as far as both are known.
bool agree(const TensorType& a, const TensorType& b);

}  // namespace hone
