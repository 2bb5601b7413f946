#include "backends/sub_batches.h"

#include <algorithm>
#include <map>
#include <set>

#include "backends/peaks.h"
#include "base/cpu_info.h"
#include "cuda/device.h"
#include "ops/conv.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace hone {
namespace {

constexpr int64_t kMostCopies = 16;  // each of them is steps of the engine

// The first layers, in order, and the one value of theirs that others read.
struct Region {
  std::vector<NodeId> nodes;
  ValueId handed_on = ValueId::none;
  int64_t batch = 0;
  int64_t most_bytes = 0;  // of the activations of a layer
};

// What a layer reads and writes.
struct Traffic {
  int64_t activations = 0, weights = 0;
};

int64_t leading(const TensorType& type) {
  const auto dims = type.shape.concrete();
  return dims && !dims->empty() ? dims->front() : 0;
}

int64_t bytes_of(const TensorType& type) {
  return element_count(*type.shape.concrete()) * static_cast<int64_t>(size_of(type.dtype));
}

bool all_but_first_constant(const Graph& graph, const Node& node) {
  return std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                     [&](ValueId v) { return v == ValueId::none || graph.value(v).is_constant(); });
}

// A constant that is the same for each item.
bool elementwise_by_item(const Graph& graph, const Node& node) {
  const int64_t rank = graph.type(node.outputs[0]).shape.rank();
  return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) {
    const Value& value = graph.value(v);
    if (!value.is_constant()) return value.type.shape.rank() == rank;
    return value.type.shape.rank() < rank || leading(value.type) == 1;
  });
}

bool reduces_within_items(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 2 || node.inputs[1] == ValueId::none) return false;
  const Tensor& axes = graph.value(node.inputs[1]).constant;
  if (!axes.defined() || axes.count() == 0) return false;
  const int64_t rank = graph.type(node.inputs[0]).shape.rank();
  for (int64_t i = 0; i < axes.count(); ++i)
    if (const auto axis = static_cast<int64_t>(axes.at(i)); axis == 0 || axis == -rank) return false;
  return true;
}

// Whether an op computes an item of its result from the same item of its inputs.
struct Rule {
  std::string_view op;
  bool (*holds)(const Graph& graph, const Node& node);
};

constexpr Rule kRules[] = {
    {Conv::kName, all_but_first_constant},
    {Pool::kName, [](const Graph&, const Node& node) { return node.outputs.size() == 1; }},
    {Pointwise::kName, elementwise_by_item},
    {Reduce::kName, reduces_within_items},
    {Transpose::kName, [](const Graph&, const Node& node) { return node.op.as<Transpose>()->perm.front() == 0; }},
    {Concat::kName, [](const Graph&, const Node& node) { return node.op.as<Concat>()->axis > 0; }},
};

bool is_by_item(const Graph& graph, const Node& node, const std::set<ValueId>& batched) {
  const auto rule = std::ranges::find(kRules, node.op.name(), &Rule::op);
  return rule != std::end(kRules) && rule->holds(graph, node) && std::ranges::all_of(node.inputs, [&](ValueId v) {
           return v == ValueId::none || graph.value(v).is_constant() || batched.contains(v);
         });
}

// An epilogue finds what it continues in registers.
bool is_fused_into(const Graph& graph, ValueId v, const Node& node) {
  const Value& value = graph.value(v);
  return node.op.name() == Pointwise::kName && value.users.size() == 1 && value.producer != NodeId::none &&
         graph.node(value.producer).op.name() == Conv::kName;
}

bool is_continued(const Graph& graph, ValueId v) {
  const Value& value = graph.value(v);
  return value.users.size() == 1 && is_fused_into(graph, v, graph.node(value.users.front()));
}

Traffic traffic_of(const Graph& graph, const Node& node) {
  Traffic t{.activations = bytes_of(graph.type(node.outputs[0]))};
  for (ValueId v : node.inputs) {
    if (v == ValueId::none || is_fused_into(graph, v, node)) continue;
    (graph.value(v).is_constant() ? t.weights : t.activations) += bytes_of(graph.type(v));
  }
  return t;
}

// Up to behind the last layer whose activations exceed `cache`, and what reading its weights for each item would cost,
// and on to where one value alone is handed on, which no epilogue continues.
std::optional<Region> first_layers(const Graph& graph, int64_t cache) {
  Region region, found;
  std::set<ValueId> batched, open;
  for (ValueId v : graph.inputs()) {
    const int64_t batch = leading(graph.type(v));
    if (batch < 2 || (region.batch != 0 && batch != region.batch)) return std::nullopt;
    region.batch = batch;
    batched.insert(v);
    open.insert(v);
  }
  std::map<ValueId, size_t> uses;
  bool exceeds = false;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!is_by_item(graph, node, batched) || leading(graph.type(node.outputs[0])) != region.batch) break;
    for (ValueId v : node.inputs) {
      if (!batched.contains(v)) continue;
      if (++uses[v] == graph.value(v).users.size() && !graph.is_output(v)) open.erase(v);
    }
    region.nodes.push_back(id);
    const Traffic traffic = traffic_of(graph, node);
    region.most_bytes = std::max(region.most_bytes, traffic.activations);
    batched.insert(node.outputs[0]);
    open.insert(node.outputs[0]);
    exceeds |= traffic.activations > std::max(cache, region.batch * traffic.weights);
    if (!exceeds || open.size() != 1 || is_continued(graph, *open.begin())) continue;
    region.handed_on = *open.begin();
    found = region;
    exceeds = false;
  }
  return found.nodes.empty() ? std::nullopt : std::optional(std::move(found));
}

// Items of a copy: as many as keep a layer's data within `cache`.
int64_t items_of_copy(const Region& region, int64_t cache) {
  const int64_t fits = std::max<int64_t>(1, cache / (region.most_bytes / region.batch));
  int64_t items = region.batch;
  while (items > 1 && (items > fits || region.batch % items != 0)) --items;
  while (region.batch / items > kMostCopies || region.batch % items != 0) ++items;
  return items;
}

Result<Graph> divide(Graph graph, const Region& region, int64_t items) {
  const auto copies = static_cast<size_t>(region.batch / items);
  const ValueId sizes = graph.add_constant(Tensor::vector(std::vector<int64_t>(copies, items)));
  std::vector<std::map<ValueId, ValueId>> parts(copies);  // of what each copy reads and makes
  for (ValueId v : graph.inputs()) {
    HONE_TRY(const NodeId split, graph.add_node(Split{.axis = 0}, {v, sizes}, copies));
    for (size_t k = 0; k < copies; ++k) parts[k][v] = graph.node(split).outputs[k];
  }
  std::vector<ValueId> handed_on;
  for (auto& part : parts) {
    for (NodeId id : region.nodes) {
      const Node node = graph.node(id);
      std::vector<ValueId> inputs = node.inputs;
      for (ValueId& v : inputs)
        if (const auto at = part.find(v); at != part.end()) v = at->second;
      HONE_TRY(const NodeId made, graph.add_node(node.op, std::move(inputs), 1, node.sources));
      part[node.outputs[0]] = graph.node(made).outputs[0];
    }
    handed_on.push_back(part.at(region.handed_on));
  }
  HONE_TRY(const NodeId joined, graph.add_node(Concat{.axis = 0}, handed_on));
  const ValueId whole = graph.node(joined).outputs[0];
  graph.set_name(whole, graph.value(region.handed_on).name);
  graph.replace_uses(region.handed_on, whole);
  graph.remove_dead();
  return graph;
}

}  // namespace

CacheSizes cpu_cache_sizes(int threads) {
  const cpu::CpuInfo& cpu = cpu::cpu_info();
  const int64_t own = threads * cpu.l2;
  return {.part = own, .whole = std::max(own, cpu.l3 / 2)};
}

CacheSizes gpu_cache_sizes(const Machine& machine, TacticCache& cache) {
  const auto device = cuda::device(machine.cuda_device);
  const auto peaks = gpu_peaks(machine, cache);
  if (!device.ok() || !peaks.ok() || !peaks->known()) return {};
  const auto& measured = peaks->bandwidths;
  if (measured.front().bytes_per_s < 2 * measured.back().bytes_per_s) return {};
  return {.part = device->l2_bytes, .whole = device->l2_bytes};
}

Result<std::optional<Graph>> in_sub_batches(const Graph& graph, const CacheSizes& caches) {
  const auto region = first_layers(graph, caches.whole);
  if (!region) return std::optional<Graph>();
  const int64_t items = items_of_copy(*region, caches.part);
  if (items == region->batch) return std::optional<Graph>();
  HONE_TRY(Graph divided, divide(graph, *region, items));
  return std::optional(std::move(divided));
}

}  // namespace hone
