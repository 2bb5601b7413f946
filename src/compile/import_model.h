#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace hone {

// Imports a model with every input of a known shape: dims that the model leaves open come from `shapes`, a leading one
// else from `batch`. What nobody gives, and names in `shapes` that are no input, are all reported.
Result<Graph> import_model(const std::string& path, const std::map<std::string, Dims>& shapes, int64_t batch = 1);

}  // namespace hone
