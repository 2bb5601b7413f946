#pragma once

#include <set>
#include <vector>

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

inline constexpr double kLargestF16 = 65504;

// What the smaller type is not to have as it is.
struct Limits {
  std::set<ValueId> wide;       // values that stay in f32, for whatever reads them
  std::set<ValueId> saturated;  // made by elementwise nodes: what is below -kLargestF16 becomes that
  std::set<NodeId> kept;        // nodes that are computed in f32; others may read their results as the smaller type
};

// A node that a constant which fp16 cannot hold keeps in f32.
struct WideConstant {
  NodeId node;
  ValueId constant;
  double magnitude;
};

struct Reduction {
  std::set<ValueId> values;  // that are now of the smaller type, by what they were before
  std::vector<WideConstant> wide;
};

// The nodes that compute layers of the framework, by name.
std::set<NodeId> nodes_of(const Graph& graph, const std::set<std::string>& layers);

// The results of reductions that elementwise work reads, as in norms and softmaxes that are spelled out, what it makes
// of them alone, and what it hands to such a reduction alone. Differences of means lose the digits that they have in
// common.
std::set<ValueId> statistics(const Graph& graph);

// Computes in `type` (f16 or bf16, with sums in f32) what has_kernel() says a kernel can: convolutions, matrix products
// and attention, and what lies between them. Everything else, and the graph's inputs and outputs, keep their types;
// casts stand where the two meet. Weights that `type` cannot hold keep their node in f32, and so do wide values, but
// for elementwise nodes, which read both types at once.
Reduction reduce_precision(Graph& graph, DType type, const Machine& machine, const Limits& limits = {});

}  // namespace hone
