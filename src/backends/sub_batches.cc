#include "backends/sub_batches.h"

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "backends/peaks.h"
#include "base/counted.h"
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

// The first layers, up to behind the last that `matters`, and on to where one value alone is handed on, which no
// epilogue continues.
template <class Matters>
std::optional<Region> first_layers(const Graph& graph, const Matters& matters) {
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
  bool wanted = false;
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
    wanted |= matters(region.batch, traffic);
    if (!wanted || open.size() != 1 || is_continued(graph, *open.begin())) continue;
    region.handed_on = *open.begin();
    found = region;
    wanted = false;
  }
  return found.nodes.empty() ? std::nullopt : std::optional(std::move(found));
}

// Of so many items, how many a copy computes: as many as keep a layer's data within `cache`, in at most so many copies.
int64_t items_of_copy(const Region& region, int64_t all, int64_t cache, int64_t most) {
  const int64_t fits = std::max<int64_t>(1, cache / (region.most_bytes / region.batch));
  int64_t items = all;
  while (items > 1 && (items > fits || all % items != 0)) --items;
  while (all / items > most || all % items != 0) ++items;
  return items;
}

// Layers that are copied, and how many items of the batch each copy computes.
struct Level {
  const Region& layers;
  int64_t items;
};

// Adds copies of the first level's layers, within each of which those of the next level are copied in turn. `values`
// stand for the graph's inputs. Returns what is handed on, joined.
Result<ValueId> add_copies(Graph& graph, std::span<const Level> levels, const std::map<ValueId, ValueId>& values) {
  const auto& [layers, items] = levels.front();
  const auto copies = static_cast<size_t>(leading(graph.type(values.begin()->second)) / items);
  const ValueId sizes = graph.add_constant(Tensor::vector(std::vector<int64_t>(copies, items)));
  std::vector<std::map<ValueId, ValueId>> parts(copies);  // of what each copy reads and makes
  for (const auto& [input, value] : values) {
    HONE_TRY(const NodeId split, graph.add_node(Split{.axis = 0}, {value, sizes}, copies));
    for (size_t k = 0; k < copies; ++k) parts[k][input] = graph.node(split).outputs[k];
  }
  std::vector<ValueId> handed_on;
  for (auto& part : parts) {
    std::set<NodeId> done;
    if (levels.size() > 1) {
      const Region& inner = levels[1].layers;
      HONE_TRY(part[inner.handed_on], add_copies(graph, levels.subspan(1), part));
      done.insert(inner.nodes.begin(), inner.nodes.end());
    }
    for (NodeId id : layers.nodes) {
      if (done.contains(id)) continue;
      const Node node = graph.node(id);
      std::vector<ValueId> inputs = node.inputs;
      for (ValueId& v : inputs)
        if (const auto at = part.find(v); at != part.end()) v = at->second;
      HONE_TRY(const NodeId made, graph.add_node(node.op, std::move(inputs), 1, node.sources));
      part[node.outputs[0]] = graph.node(made).outputs[0];
    }
    handed_on.push_back(part.at(layers.handed_on));
  }
  HONE_TRY(const NodeId joined, graph.add_node(Concat{.axis = 0}, handed_on));
  return graph.node(joined).outputs[0];
}

Result<Graph> divide(Graph graph, std::span<const Level> levels) {
  std::map<ValueId, ValueId> inputs;
  for (ValueId v : graph.inputs()) inputs[v] = v;
  const ValueId handed_on = levels.front().layers.handed_on;
  HONE_TRY(const ValueId whole, add_copies(graph, levels, inputs));
  graph.set_name(whole, graph.value(handed_on).name);
  graph.replace_uses(handed_on, whole);
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

Result<std::optional<Divided>> in_sub_batches(const Graph& graph, const CacheSizes& caches, int threads) {
  std::optional<Divided> divided;
  // A layer whose activations exceed the caches, and what reading its weights for each item would cost.
  const auto region = first_layers(graph, [&](int64_t batch, const Traffic& traffic) {
    return traffic.activations > std::max(caches.whole, batch * traffic.weights);
  });
  if (!region) return divided;
  std::vector<Level> levels;
  std::optional<Region> all;
  int64_t items = region->batch;
  if (threads > 1 && threads <= kMostCopies && items % threads == 0) {
    all = first_layers(graph, [](int64_t, const Traffic&) { return true; });
    items /= threads;
    levels.push_back({*all, items});
  }
  const int64_t shares = all ? threads : 1;
  const int64_t fits = items_of_copy(*region, items, caches.part / shares, kMostCopies / shares);
  if (fits < items) levels.push_back({*region, fits});
  if (levels.empty()) return divided;
  HONE_TRY(Graph changed, divide(graph, levels));
  divided = {std::move(changed), all ? fmt::format("its batch shared out among {}", counted(threads, "thread"))
                                     : "its first layers run for parts of the batch"};
  return divided;
}

std::map<NodeId, int> branches_of(const Graph& graph, int threads) {
  std::map<NodeId, int> branches;
  if (threads < 2) return branches;
  std::map<ValueId, int> parts;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const auto* split = node.op.as<Split>();
    if (split != nullptr && split->axis == 0 && std::ssize(node.outputs) == threads &&
        std::ranges::count(graph.inputs(), node.inputs[0]) > 0) {
      for (int k = 0; k < threads; ++k) parts[node.outputs[static_cast<size_t>(k)]] = k;
      continue;
    }
    std::set<int> read;
    for (ValueId v : node.inputs) {
      if (v == ValueId::none || graph.value(v).is_constant()) continue;
      const auto part = parts.find(v);
      read.insert(part == parts.end() ? -1 : part->second);
    }
    if (read.size() != 1 || read.contains(-1)) continue;
    branches[id] = *read.begin();
    for (ValueId v : node.outputs) parts[v] = *read.begin();
  }
  return branches;
}

}  // namespace hone
