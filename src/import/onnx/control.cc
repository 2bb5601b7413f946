#include "ops/control.h"

#include "base/counted.h"
#include "import/onnx/importer.h"
#include "import/onnx/inline.h"
#include "ir/splice.h"

namespace hone::import_onnx {
namespace {

// Formal inputs of a subgraph, without the captured ones at the end.
size_t formal_count(const Subgraph& graph) { return graph.graph->inputs().size() - graph.captures.size(); }

void append(std::vector<ValueId>& to, const std::vector<ValueId>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

// Emits all outputs of a control op and binds those that the node has.
void emit(NodeImport& n, Op op, std::vector<ValueId> inputs, size_t outputs) {
  if (n.output_count() > outputs)
    return n.invalid("has {}, its graph gives {}", counted(n.output_count(), "output"), outputs);
  const auto values = n.add(std::move(op), std::move(inputs), outputs);
  for (size_t k = 0; k < values.size(); ++k) n.output(k, values[k]);
}

void inline_branch(NodeImport& n, const Subgraph& branch) {
  const auto outputs = inline_graph(n, branch, {});
  if (n.failed()) return;
  if (n.output_count() > outputs.size())
    return n.invalid("has {}, its graph gives {}", counted(n.output_count(), "output"), outputs.size());
  for (size_t k = 0; k < outputs.size(); ++k) n.output(k, outputs[k]);
}

// A branch that fails where it is taken, with outputs as of the other one.
Subgraph failing(const Status& defect, const Graph& other) {
  Raise op{.message = defect.message()};
  Types types;
  for (ValueId output : other.outputs()) {
    types.push_back(other.type(output));
    op.types.push_back(to_text(types.back()));
  }
  auto graph = std::make_shared<Graph>();
  const NodeId node = graph->add_node_typed(std::move(op), {}, types);
  for (ValueId output : graph->node(node).outputs) graph->add_output(output, "");
  return {std::move(graph), {}, {}};
}

void import_if(NodeImport& n) {
  const Tensor condition = n.constant(n.input(0));
  if (condition.defined()) {
    n.ignore({"then_branch", "else_branch"});  // one is never run
    if (condition.type() != DType::boolean || condition.count() != 1)
      return n.invalid("the condition must be one boolean");
    const Subgraph taken = n.graph(condition.int_at(0) != 0 ? "then_branch" : "else_branch");
    if (!n.failed()) inline_branch(n, taken);
    return;
  }
  Subgraph then_branch = n.branch("then_branch"), else_branch = n.branch("else_branch");
  if (n.failed()) return;
  if (!then_branch.graph && !else_branch.graph) return n.fail(then_branch.defect);
  if (!then_branch.graph) then_branch = failing(then_branch.defect, *else_branch.graph);
  if (!else_branch.graph) else_branch = failing(else_branch.defect, *then_branch.graph);
  if (formal_count(then_branch) + formal_count(else_branch) > 0) return n.invalid("a branch has inputs of its own");
  std::vector<ValueId> inputs{n.input(0)};
  append(inputs, then_branch.captures);
  append(inputs, else_branch.captures);
  emit(n, If{.then_branch = then_branch.graph, .else_branch = else_branch.graph}, std::move(inputs),
       then_branch.graph->outputs().size());
}

void import_loop(NodeImport& n) {
  const size_t states = n.input_count() > 2 ? n.input_count() - 2 : 0;
  Types formals{{DType::i64, Shape()}, {DType::boolean, Shape()}};
  std::vector<ValueId> inputs{n.input(0), n.input(1)};
  for (size_t k = 0; k < states; ++k) {
    inputs.push_back(n.input(2 + k));
    // A state may change shape from one iteration to the next.
    TensorType type = n.type(inputs.back());
    if (type.dtype != DType::sequence) type.shape = Shape::unranked();
    formals.push_back(std::move(type));
  }
  const Subgraph body = n.graph("body", formals);
  if (n.failed()) return;
  if (formal_count(body) != 2 + states)
    return n.invalid("its body has {}, not {}", counted(formal_count(body), "input"), 2 + states);
  append(inputs, body.captures);
  const size_t results = body.graph->outputs().size();
  if (results < 1 + states) return n.invalid("its body has {}, not {} or more", counted(results, "output"), 1 + states);
  emit(n, Loop{.body = body.graph, .states = static_cast<int64_t>(states)}, std::move(inputs), results - 1);
}

Shape without_axis(const Shape& shape, int64_t axis) {
  const int64_t rank = shape.rank();
  if (axis < 0) axis += rank;
  if (!shape.ranked || axis < 0 || axis >= rank) return Shape::unranked();
  Shape out = shape;
  out.dims.erase(out.dims.begin() + axis);
  return out;
}

// Node inputs from `first` on: states, then `scanned` inputs.
void scan(NodeImport& n, Scan op, size_t first) {
  const auto scanned = static_cast<size_t>(std::max<int64_t>(n.i("num_scan_inputs"), 0));
  if (scanned == 0 || n.input_count() < first + scanned)
    return n.invalid("num_scan_inputs is {}", n.i("num_scan_inputs"));
  const size_t states = n.input_count() - first - scanned;
  const char* directions = op.batched ? "directions" : "scan_input_directions";
  op.states = static_cast<int64_t>(states);
  op.input_axes = n.ints("scan_input_axes", std::vector<int64_t>(scanned, 0));
  op.input_reverse = n.ints(directions, std::vector<int64_t>(scanned, 0));
  if (op.input_axes.size() != scanned || op.input_reverse.size() != scanned)
    return n.invalid("axes and directions are needed for each of the {}", counted(scanned, "scanned input"));

  Types formals;
  std::vector<ValueId> inputs;
  if (op.batched) inputs.push_back(n.input(0));
  for (size_t k = 0; k < states + scanned; ++k) {
    inputs.push_back(n.input(first + k));
    TensorType type = n.type(inputs.back());
    if (op.batched) type.shape = without_axis(type.shape, 0);
    if (k >= states) type.shape = without_axis(type.shape, op.input_axes[k - states]);
    formals.push_back(std::move(type));
  }
  const Subgraph body = n.graph("body", formals);
  if (n.failed()) return;
  const size_t results = body.graph->outputs().size();
  if (formal_count(body) != states + scanned || results < states)
    return n.invalid("its body has {} and {} for {} and {}", counted(formal_count(body), "input"),
                     counted(results, "output"), counted(states, "state"), counted(scanned, "scanned input"));
  op.body = body.graph;
  op.output_axes = n.ints("scan_output_axes", std::vector<int64_t>(results - states, 0));
  op.output_reverse = n.ints("scan_output_directions", std::vector<int64_t>(results - states, 0));
  append(inputs, body.captures);
  emit(n, std::move(op), std::move(inputs), results);
}

void import_scan8(NodeImport& n) { scan(n, Scan{.batched = true}, 1); }
void import_scan(NodeImport& n) { scan(n, Scan{}, 0); }

void import_sequence_map(NodeImport& n) {
  Types formals;
  for (size_t k = 0; k < n.input_count(); ++k) {
    const TensorType& type = n.type(n.input(k));
    formals.push_back(type.dtype == DType::sequence ? TensorType{type.element, Shape::unranked()} : type);
  }
  const Subgraph body = n.graph("body", formals);
  if (n.failed()) return;
  if (formal_count(body) != n.input_count())
    return n.invalid("its body has {}, not {}", counted(formal_count(body), "input"), n.input_count());
  std::vector<ValueId> inputs = n.inputs();
  append(inputs, body.captures);
  emit(n, SequenceMap{.body = body.graph, .inputs = static_cast<int64_t>(n.input_count())}, std::move(inputs),
       body.graph->outputs().size());
}

}  // namespace

std::vector<ValueId> inline_graph(NodeImport& n, const Subgraph& graph, std::vector<ValueId> formals) {
  append(formals, graph.captures);
  if (formals.size() != graph.graph->inputs().size()) {
    n.invalid("its graph has {}, not {}", counted(formal_count(graph), "input"),
              formals.size() - graph.captures.size());
    return {};
  }
  const SpliceTarget target{.constant = [&](const Value& value) { return n.constant(value.constant); },
                            .node = [&](const Node& node, std::vector<ValueId> inputs) -> Result<std::vector<ValueId>> {
                              auto outputs = n.add(node.op, std::move(inputs), node.outputs.size());
                              if (n.failed()) return n.status();
                              return outputs;
                            }};
  auto outputs = splice(*graph.graph, formals, target);
  if (!outputs.ok()) {
    n.fail(outputs.status());
    return {};
  }
  return *outputs;
}

std::span<const ImporterRow> control_importers() {
  static constexpr ImporterRow kRows[] = {
      {"If", import_if},
      {"Loop", import_loop},
      {"Scan", import_scan8, 8},
      {"Scan", import_scan, 9},
      {"SequenceMap", import_sequence_map, 17},
  };
  return kRows;
}

}  // namespace hone::import_onnx
