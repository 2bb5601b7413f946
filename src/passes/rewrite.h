#pragma once

#include <optional>

#include "ir/graph.h"
#include "ops/pointwise.h"

namespace hone::rewrite {

// A rule looks at one node and rewrites what it matches; true when it changed the graph.
using Rule = bool (*)(Graph& graph, NodeId id);

// Offers every live node to each rule, inputs before users, until `limit` changes are made. Returns how many.
int apply(Graph& graph, int limit, std::initializer_list<Rule> rules);

// Adds a node with one output that stands for the nodes of `from`; none when its types cannot be inferred.
ValueId emit(Graph& graph, Op op, std::vector<ValueId> inputs, std::initializer_list<NodeId> from);
ValueId emit(Graph& graph, Op op, std::vector<ValueId> inputs, const std::vector<std::string>& sources);

// Every use of `old` becomes a use of `now`, which inherits its name and what is known of its shape. Nodes that nothing
// uses any more are removed at once, so that use counts stay true for the rules that follow. False when `now` is none.
bool replace(Graph& graph, ValueId old, ValueId now);

// The op of a node, or of a value's producer, when it is a T.
template <class T>
const T* op_of(const Graph& graph, NodeId id) {
  return id == NodeId::none ? nullptr : graph.node(id).op.as<T>();
}
template <class T>
const T* producer(const Graph& graph, ValueId v) {
  return op_of<T>(graph, graph.value(v).producer);
}

// The same for all outputs of a node, by those of another.
bool replace_all(Graph& graph, NodeId old, const std::vector<ValueId>& now);
// Infers types again where shapes are not known, for values that come after something that became known.
void refine_types(Graph& graph);

ValueId input(const Graph& graph, NodeId id, size_t slot);  // none when absent
inline ValueId output(const Graph& graph, NodeId id) { return graph.node(id).outputs[0]; }

// Used by one slot of one node and not a graph output.
bool used_once(const Graph& graph, ValueId v);
// The only user, however many of its slots; none when there are several or the value is a graph output.
NodeId only_user(const Graph& graph, ValueId v);

std::optional<std::vector<int64_t>> const_ints(const Graph& graph, ValueId v);  // of a constant integer tensor
std::optional<double> const_scalar(const Graph& graph, ValueId v);              // of a constant of one element
ValueId add_ints(Graph& graph, std::span<const int64_t> values);

// Whether a value is the sums of a convolution or matrix product of 8-bit factors, which are still to be scaled.
bool is_sum_of_bytes(const Graph& graph, ValueId v);

// Surely equal: the same numbers or symbols in every dim.
bool same_shape(const Shape& a, const Shape& b);
// The axis counted from the front; nothing when out of range.
std::optional<int64_t> normal_axis(int64_t axis, int64_t rank);

// The target that takes a tensor of shape `from` to `to`: numbers, zeros where a symbol stays in its place, at most one
// -1.
struct Target {
  std::vector<int64_t> dims;
  bool allow_zero = false;
};
std::optional<Target> reshape_target(const Shape& from, const Shape& to);
// x under `shape`, or none when no target says so. A copy: one of the graph's would move as the graph grows.
ValueId reshape(Graph& graph, ValueId x, Shape shape, const std::vector<std::string>& sources);

using Perm = std::vector<int64_t>;
Perm compose(const Perm& first, const Perm& second);  // transpose by `first`, then by `second`
Perm inverse(const Perm& perm);
bool is_identity(const Perm& perm);
bool is_perm(const Perm& perm, int64_t rank);
// Dims other than 1 keep their order: the elements stay where they are.
bool moves_only_ones(const Perm& perm, const Shape& shape);

// A pointwise node of one function, its operands values or inlined constants.
struct Call {
  struct Arg {
    ValueId value = ValueId::none;
    double constant = 0;  // when `value` is none
    bool is(double c) const { return value == ValueId::none && constant == c; }
  };
  Fn fn;
  Arg args[3];
};
std::optional<Call> call(const Graph& graph, ValueId v);

}  // namespace hone::rewrite
