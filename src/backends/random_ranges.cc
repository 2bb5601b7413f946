#include "backends/random_ranges.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "backends/cpu_fusion.h"
#include "backends/integers.h"
#include "backends/lower.h"
#include "backends/problem.h"
#include "backends/random_tensor.h"
#include "ops/cost.h"
#include "ops/reduce.h"
#include "passes/pipeline.h"
#include "runtime/context.h"

namespace hone {
namespace {

constexpr double kMostOperations = 200e9;  // some seconds
constexpr double kManyOperations = 25e9;   // one item of the batch will do
constexpr double kReferenceCost = 200;     // of an operation by an op's reference

double operations(const Graph& graph, const Machine& machine) {
  double sum = 0;
  for (NodeId id : graph.order()) {
    const Problem problem = problem_of(graph, id);
    const double own = operation_count(problem.op, problem.inputs, problem.outputs);
    sum += own > 0 && !has_fast_kernel(problem, machine) ? kReferenceCost * own : own;
  }
  return sum;
}

// The graph for a leading dim of 1 in place of the one that its inputs share; nothing when it is made for that one.
std::optional<Graph> for_one_item(Graph graph) {
  Dim batch;
  for (ValueId v : graph.inputs()) {
    TensorType type = graph.type(v);
    if (type.shape.rank() == 0) continue;
    if (!batch.known()) batch = type.shape.dims[0];
    if (type.shape.dims[0] != batch || batch.value < 2) return std::nullopt;
    type.shape.dims[0] = Dim(1);
    graph.set_type(v, type);
  }
  return graph.infer_types().ok() ? std::optional(std::move(graph)) : std::nullopt;
}

Result<Graph> affordable(const Graph& graph, const Machine& machine) {
  const double whole = operations(graph, machine);
  if (whole <= kManyOperations) return graph;
  if (auto one = for_one_item(graph); one && operations(*one, machine) <= kMostOperations) return std::move(*one);
  if (whole <= kMostOperations) return graph;
  return unsupported("a run of the network takes {:.0f} G multiply-adds", whole / 2e9);
}

// Adds the least and the largest element of each value as outputs.
Status add_extremes(Graph& graph, const std::vector<ValueId>& values) {
  for (ValueId v : values)
    for (const char* kind : {"min", "max"}) {
      HONE_TRY(const NodeId node, graph.add_node(Reduce{.kind = kind, .keep_dims = false}, {v}));
      graph.add_output(graph.node(node).outputs[0], fmt::format("{} of %{}", kind, index(v)));
    }
  return {};
}

Result<std::shared_ptr<const LoadedEngine>> engine_of(Graph graph, const Machine& machine) {
  HONE_CHECK(fuse(graph));
  fuse_for_cpu(graph, machine);
  HONE_CHECK(merge_elementwise(graph));
  Selector selector({.machine = machine, .tune = false});
  HONE_TRY(EngineData data, lower(graph, selector, machine));
  data.program.target = "cpu";
  return LoadedEngine::make(std::move(data));
}

}  // namespace

Result<Bounds> ranges_on_random_data(const Graph& graph, const std::vector<ValueId>& values, const Machine& machine) {
  const Machine cpu{.threads = machine.threads, .max_tier = machine.max_tier, .winograd = false};  // for one run
  HONE_TRY(Graph observed, affordable(graph, cpu));
  const size_t own = observed.outputs().size();
  HONE_CHECK(add_extremes(observed, values));
  HONE_TRY(auto engine, engine_of(std::move(observed), cpu));
  ExecutionContext context(engine);
  for (const Binding& b : engine->program().inputs) {
    if (!b.type.shape.concrete()) return unsupported("the dims of '{}' are open", b.name);
    HONE_CHECK(context.bind_input(b.name, random_tensor(b.type)));
  }
  HONE_CHECK(context.run());
  const Tensors outputs = context.outputs();
  Bounds ranges;
  for (size_t k = 0; k < values.size(); ++k) {
    const Interval range{outputs[own + 2 * k].at(0), outputs[own + 2 * k + 1].at(0)};
    if (range.low <= range.high) ranges[values[k]] = range;
  }
  return ranges;
}

}  // namespace hone
