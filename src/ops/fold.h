#pragma once

#include "ir/graph.h"

namespace hone {

// Largest result, in bytes, that folding may create from smaller inputs.
constexpr int64_t kMaxFoldedBytes = int64_t{256} << 20;

// The outputs of `op` when all its inputs are constants, it is pure and the results are not unreasonably large; else
// nothing.
std::optional<Tensors> fold(const Graph& graph, const Op& op, std::span<const ValueId> inputs, size_t outputs);

}  // namespace hone
