#include <algorithm>
#include <cmath>

#include "ops/movement.h"
#include "passes/passes.h"
#include "passes/pointwise/program.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// The value that all elements of a constant have, when a program can hold it exactly.
std::optional<double> uniform_value(const Tensor& t) {
  if (!t.defined() || t.count() < 1 || t.type() == DType::string || is_complex(t.type())) return std::nullopt;
  const double value = t.at(0);
  if (is_integer(t.type()) && std::fabs(value) >= 9007199254740992.0) return std::nullopt;
  if (t.count() > 1) {
    if (std::isnan(value)) return std::nullopt;
    for (int64_t i = 1; i < t.count(); ++i)
      if (t.at(i) != value || std::signbit(t.at(i)) != std::signbit(value)) return std::nullopt;
  }
  return value;
}

// The shape that the inputs but for `except` broadcast to is the node's own.
bool shape_survives(const Graph& graph, NodeId id, size_t except) {
  const auto& inputs = graph.node(id).inputs;
  Shape shape;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i == except) continue;
    auto joined = broadcast(shape, graph.type(inputs[i]).shape);
    if (!joined.ok()) return false;
    shape = *joined;
  }
  if (inputs.size() < 2) return false;
  // Dims of 1 leave any other shape of that rank as it is, known or not.
  const Shape& left_out = graph.type(inputs[except]).shape;
  const bool ones = left_out.ranked &&
                    std::all_of(left_out.dims.begin(), left_out.dims.end(), [](const Dim& d) { return d.value == 1; });
  if (ones && (left_out.rank() == 0 || left_out.rank() <= shape.rank())) return true;
  return same_shape(shape, graph.type(output(graph, id)).shape);
}

// A constant input whose elements are all one number -> a constant of the program.
bool inline_scalar(Graph& graph, NodeId id) {
  const auto* pointwise = op_of<Pointwise>(graph, id);
  if (pointwise == nullptr) return false;
  const auto& inputs = graph.node(id).inputs;
  for (size_t slot = 0; slot < inputs.size(); ++slot) {
    const auto value = uniform_value(graph.value(inputs[slot]).constant);
    if (!value || !shape_survives(graph, id, slot)) continue;
    std::vector<ValueId> rest = inputs;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(slot));
    Pointwise op = *pointwise;
    for (PointwiseInstr& instr : op.program.code) {
      if (instr.fn != Fn::input) continue;
      if (instr.input == static_cast<int32_t>(slot)) instr = {.fn = Fn::constant, .type = instr.type, .value = *value};
      else if (instr.input > static_cast<int32_t>(slot)) --instr.input;
    }
    return replace(graph, output(graph, id), emit(graph, op, rest, {id}));
  }
  return false;
}

// An input that was broadcast beforehand -> the input itself, where the node broadcasts it just the same.
bool skip_expand(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr) return false;
  const auto& inputs = graph.node(id).inputs;
  for (size_t slot = 0; slot < inputs.size(); ++slot) {
    if (producer<Expand>(graph, inputs[slot]) == nullptr || !shape_survives(graph, id, slot)) continue;
    const NodeId expand = graph.value(inputs[slot]).producer;
    std::vector<ValueId> changed = inputs;
    changed[slot] = input(graph, expand, 0);
    return replace(graph, output(graph, id), emit(graph, graph.node(id).op, changed, {expand, id}));
  }
  return false;
}

// Equal instructions, constants among constants, x * 1 and the like -> the shortest program that says the same.
bool simplify_program(Graph& graph, NodeId id) {
  const auto* pointwise = op_of<Pointwise>(graph, id);
  if (pointwise == nullptr) return false;
  PointwiseProgram program = simplify(pointwise->program);
  if (program == pointwise->program) return false;
  std::vector<ValueId> inputs = graph.node(id).inputs;
  drop_unused_inputs(graph, graph.type(output(graph, id)).shape, program, inputs);
  return replace(graph, output(graph, id), emit(graph, Pointwise{program}, inputs, {id}));
}

}  // namespace

Result<int> simplify_pointwise(Graph& graph, int limit) {
  return apply(graph, limit, {inline_scalar, skip_expand, simplify_program});
}

}  // namespace hone
