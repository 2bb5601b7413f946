#include "backends/random_ranges.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "backends/cpu_fusion.h"
#include "backends/integers.h"
#include "backends/lower.h"
#include "backends/problem.h"
#include "backends/random_tensor.h"
#include "engine/checksum.h"
#include "engine/tensor_pool.h"
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

// The graph and its constants, and which values are looked at. The first word is changed with random_tensor().
std::string key_of(const Graph& graph, const std::vector<ValueId>& values) {
  const auto hash = [](const Tensor& t) {
    return checksum(t.type() == DType::string ? encode_strings(t) : std::string_view(t.data<char>(), t.bytes()));
  };
  std::string key = "ranges1";
  for (ValueId v : values) key += fmt::format(" %{}", index(v));
  return key + '\n' + to_text(graph, {.max_inline = 16, .store = hash});
}

// One for each value; low > high where it became NaN.
using Ranges = std::vector<Interval>;

std::optional<Ranges> find_ranges(const Store& store, const std::string& key, size_t count) {
  const auto found = store.find(key);
  if (!found || found->size() != count * sizeof(Interval)) return std::nullopt;
  Ranges ranges(count);
  std::memcpy(ranges.data(), found->data(), found->size());
  return ranges;
}

Result<Ranges> run(Graph graph, const std::vector<ValueId>& values, const Machine& machine) {
  const size_t own = graph.outputs().size();
  HONE_CHECK(add_extremes(graph, values));
  HONE_TRY(auto engine, engine_of(std::move(graph), machine));
  ExecutionContext context(engine);
  for (const Binding& b : engine->program().inputs) {
    if (!b.type.shape.concrete()) return unsupported("the dims of '{}' are open", b.name);
    HONE_CHECK(context.bind_input(b.name, random_tensor(b.type)));
  }
  HONE_CHECK(context.run());
  const Tensors outputs = context.outputs();
  Ranges ranges;
  for (size_t k = 0; k < values.size(); ++k)
    ranges.push_back({outputs[own + 2 * k].at(0), outputs[own + 2 * k + 1].at(0)});
  return ranges;
}

Result<Ranges> find_or_run(const Graph& graph, const std::vector<ValueId>& values, const Machine& machine,
                           const Store* store) {
  if (store == nullptr) return run(graph, values, machine);
  const std::string key = key_of(graph, values);
  if (auto found = find_ranges(*store, key, values.size())) return std::move(*found);
  HONE_TRY(Ranges ranges, run(graph, values, machine));
  store->put(key, {reinterpret_cast<const char*>(ranges.data()), ranges.size() * sizeof(Interval)});
  return ranges;
}

}  // namespace

Result<Bounds> ranges_on_random_data(const Graph& graph, const std::vector<ValueId>& values, const Machine& machine) {
  const Machine cpu{.threads = machine.threads, .max_tier = machine.max_tier, .winograd = false};  // for one run
  HONE_TRY(const Graph observed, affordable(graph, cpu));
  HONE_TRY(const Ranges ranges, find_or_run(observed, values, cpu, machine.store));
  Bounds bounds;
  for (size_t k = 0; k < values.size(); ++k)
    if (ranges[k].low <= ranges[k].high) bounds[values[k]] = ranges[k];
  return bounds;
}

}  // namespace hone
