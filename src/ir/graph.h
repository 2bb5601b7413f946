#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/op.h"

namespace hone {

// Stable ids: never reused within a graph. 0 means absent (an omitted optional input).
enum class ValueId : uint32_t { none = 0 };
enum class NodeId : uint32_t { none = 0 };
constexpr uint32_t index(ValueId id) { return static_cast<uint32_t>(id); }
constexpr uint32_t index(NodeId id) { return static_cast<uint32_t>(id); }

struct Node {
  Op op;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<std::string> sources;  // names of the framework nodes that it came from
};

struct Value {
  std::string name;  // the framework's name, where it has one
  TensorType type;
  Tensor constant;                  // defined for constants
  NodeId producer = NodeId::none;   // none for graph inputs and constants
  std::vector<NodeId> users;        // a node once for each use, in no particular order

  bool is_constant() const { return constant.defined(); }
};

// A directed acyclic graph of nodes over values. A value type. Only add_*, the setters and replace/remove mutate it,
// and they keep producers and users true. Subgraphs may use values of the enclosing graph: they are passed as explicit
// inputs.
class Graph {
 public:
  std::string name;
  std::map<std::string, std::string> metadata;

  ValueId add_input(std::string name, TensorType type);
  ValueId add_constant(Tensor value, std::string name = {});
  // Appends a node and infers its output types. Nodes must be added after their inputs.
  Result<NodeId> add_node(Op op, std::vector<ValueId> inputs, size_t outputs = 1,
                          std::vector<std::string> sources = {});
  // The same without inference: the caller gives the types.
  NodeId add_node_typed(Op op, std::vector<ValueId> inputs, Types types, std::vector<std::string> sources = {});
  void add_output(ValueId value, std::string name);

  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  const std::vector<std::string>& output_names() const { return output_names_; }

  const Node& node(NodeId id) const { return nodes_[index(id)]; }
  const Value& value(ValueId id) const { return values_[index(id)]; }
  const TensorType& type(ValueId id) const { return value(id).type; }
  bool alive(NodeId id) const { return alive_[index(id)]; }
  bool is_output(ValueId id) const;
  // Live nodes, inputs before users.
  std::vector<NodeId> order() const;
  // Live constants and other values in id order.
  std::vector<ValueId> values() const;
  size_t node_count() const;

  void set_name(ValueId id, std::string name) { values_[index(id)].name = std::move(name); }
  void set_type(ValueId id, TensorType type) { values_[index(id)].type = std::move(type); }
  // Every use of `from`, graph outputs included, becomes a use of `to`.
  void replace_uses(ValueId from, ValueId to);
  void set_input(NodeId node, size_t slot, ValueId value);
  void set_op(NodeId node, Op op) { nodes_[index(node)].op = std::move(op); }
  void add_sources(NodeId node, const std::vector<std::string>& sources);
  void remove(NodeId node);  // its outputs must have no users
  // Removes nodes none of whose outputs is used, until there is none. Returns how many.
  size_t remove_dead();
  // Infers all types again from the inputs' (after they were set). The error names the node.
  Status infer_types();

  // The error a node's user should see: "node 'conv1' (Conv): ...".
  std::string label(NodeId id) const;

 private:
  ValueId new_value(Value value);

  std::vector<Node> nodes_{1};
  std::vector<bool> alive_{false};
  std::vector<Value> values_{1};
  std::vector<ValueId> inputs_, outputs_;
  std::vector<std::string> output_names_;
};

// Checks what every graph must satisfy: ids, use lists, no cycle, types that inference agrees with.
Status verify(const Graph& graph);

// The same nodes, types, constants and names, whatever the ids.
bool equal(const Graph& a, const Graph& b);

// Text that parses back to an equal graph. Constants of more than `max_inline` elements are given by the number "@3"
// under which `store` keeps them, for `read` to find; without `store` by their hash, which cannot be read back.
struct TextOptions {
  int64_t max_inline = INT64_MAX;
  std::function<uint64_t(const Tensor&)> store = {};
};
using ConstantReader = std::function<Result<Tensor>(uint64_t number, DType type, const Dims& dims)>;
std::string to_text(const Graph& graph, const TextOptions& options = {});
// A graph that verify() accepts.
Result<Graph> graph_from_text(std::string_view text, const ConstantReader& read = {});

// Runs the graph by each op's reference evaluation. `inputs` in the order of graph.inputs().
// `observe`, when given, sees every node's outputs.
using Observer = std::function<void(NodeId, std::span<const Tensor>)>;
Result<Tensors> interpret(const Graph& graph, std::span<const Tensor> inputs, const Observer& observe = {});

}  // namespace hone
