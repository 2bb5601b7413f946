#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/program.h"

namespace hone {

// The program as readable JSON, and back. The reader checks every index, offset and type.
std::string to_json(const Program& program);
Result<Program> program_from_json(std::string_view text);

// As the manifest and users read them; null where something is not known.
nlohmann::json precisions_json(const std::vector<LayerPrecision>& layers);

// Whether memory of type `a` may be read as `b`, as far as both are known.
bool agree(const TensorType& a, const TensorType& b);

}  // namespace hone
