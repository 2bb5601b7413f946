#pragma once

#include <functional>

#include "ir/graph.h"

namespace hone {

// How the constants and nodes of one graph are made anew in another.
struct SpliceTarget {
  std::function<ValueId(const Value&)> constant;
  std::function<Result<std::vector<ValueId>>(const Node&, std::vector<ValueId> inputs)> node;
};

// Copies `from` to the target, with `inputs` in place of its inputs. Returns what its outputs became.
Result<std::vector<ValueId>> splice(const Graph& from, std::span<const ValueId> inputs, const SpliceTarget& target);
// The same into a graph, as nodes with their own sources.
Result<std::vector<ValueId>> splice(const Graph& from, std::span<const ValueId> inputs, Graph& into);

}  // namespace hone
