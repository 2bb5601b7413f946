#pragma once

#include <map>

#include "ir/graph.h"

namespace hone {

// A run of bytes of another value's memory.
struct Part {
  ValueId whole;
  int64_t offset = 0;
};

// The values that a kernel can write straight into the Concat that reads them: fixed in size, one run of bytes there,
// made by a node that is neither a view nor a control op. Of several uses in Concats the first counts.
std::map<ValueId, Part> parts_of_concats(const Graph& graph);

// Where each input of a Concat (each output of a Split) begins in the whole, when all are runs of its bytes; else
// empty.
std::vector<int64_t> part_offsets(const Graph& graph, NodeId id);

}  // namespace hone
