#pragma once

#include "import/onnx/importer.h"

namespace hone::import_onnx {

// Adds a subgraph's nodes in the node's place, with `formals` for its own inputs. The values of its outputs.
std::vector<ValueId> inline_graph(NodeImport& n, const Subgraph& graph, std::vector<ValueId> formals);

}  // namespace hone::import_onnx
