#pragma once

#include "passes/rewrite.h"

namespace hone::layout {

// [N, C, spatial...] -> [N, spatial..., C], and back.
rewrite::Perm to_last(int64_t rank);
rewrite::Perm to_first(int64_t rank);

// Behind the framework's name of a value: what is computed is that value with its channels moved last.
inline constexpr std::string_view kChannelsLast = " (channels last)";
// Between the names of values that lie side by side in one.
inline constexpr std::string_view kSideBySide = " | ";
// Names `moved`, of which `original` is the channels-first Transpose.
void name_channels_last(Graph& graph, ValueId moved, ValueId original);
// The framework's name of a value that is computed with its channels last or not.
std::string framework_name(const Graph& graph, ValueId v);

// Names a value that holds others side by side along its last axis, all of one size, where these have names.
void name_side_by_side(Graph& graph, ValueId whole, std::span<const ValueId> parts);
// The framework's names of what lies side by side in a value: most often its own alone.
std::vector<std::string> framework_names(const Graph& graph, ValueId v);

// A node rewritten to work on the inputs of the Transposes before it; `perm` is what its outputs need after it.
struct Sunk {
  Op op;
  std::vector<ValueId> inputs;
  rewrite::Perm perm;
};

// How an op whose first input is u transposed by `perm` works on u itself; nothing when it does not.
std::optional<Sunk> sink_one(Graph& graph, NodeId id, ValueId u, const rewrite::Perm& perm);

// Where axis `a` of the transposed tensor lies in the tensor before.
inline int64_t before(const rewrite::Perm& perm, int64_t a) { return perm[static_cast<size_t>(a)]; }
// The order of what remains when the axes `removed` (of the transposed tensor) are dropped.
rewrite::Perm without(const rewrite::Perm& perm, const std::vector<int64_t>& removed);

}  // namespace hone::layout
