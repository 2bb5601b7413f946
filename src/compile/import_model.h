#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace hone {

struct ImportedModel {
  Graph graph;
  std::vector<ValueId> open;  // inputs whose shape nobody gave; none when the graph can be compiled
};

// Imports a model with the dims that it leaves open taken from `shapes`, a leading one else from `batch`.
Result<ImportedModel> import_model(const std::string& path, const std::map<std::string, Dims>& shapes,
                                   int64_t batch = 1);

}  // namespace hone
