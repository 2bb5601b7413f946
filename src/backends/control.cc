#include "backends/control.h"

#include <algorithm>

#include "ir/graph.h"

namespace hone {
namespace {

// Kernels are chosen for the types that a body states: a state must keep to its own.
bool keeps_types(const Problem& problem, const ControlBody& body) {
  for (size_t k = 0; k < body.states; ++k) {
    const TensorType& formal = body.graph->type(body.graph->inputs()[body.first_state + k]);
    if (!problem.inputs[body.first_input + body.first_state + k].defined()) return false;
    if (formal.shape.known() && !(formal == problem.outputs[k])) return false;
  }
  return true;
}

}  // namespace

std::vector<ControlBody> lowered_bodies(const Problem& problem) {
  const auto* scan = problem.op.as<Scan>();
  if (problem.op.as<SequenceMap>() != nullptr || (scan != nullptr && scan->batched)) return {};
  auto bodies = bodies_of(problem.op);
  const bool all =
      std::all_of(bodies.begin(), bodies.end(), [&](const ControlBody& b) { return keeps_types(problem, b); });
  return all ? bodies : std::vector<ControlBody>();
}

}  // namespace hone
