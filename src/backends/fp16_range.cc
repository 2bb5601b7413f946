#include "backends/fp16_range.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "backends/integers.h"
#include "backends/random_ranges.h"
#include "base/counted.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "passes/layout/layout.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

constexpr double kProved = 60000;          // what is left for the rounding of what is computed
constexpr double kSeen = kLargestF16 / 4;  // other data may reach further
constexpr const char* kAdvice = "give --calibrate with typical inputs to be sure";

// Made by elementwise work and read by softmax alone, as the sum of scores and a mask is.
bool is_softmax_input(const Graph& graph, ValueId v) {
  const Value& value = graph.value(v);
  const auto is_softmax = [&](NodeId user) {
    const auto* softmax = graph.node(user).op.as<Softmax>();
    return softmax != nullptr && !softmax->log;
  };
  return rewrite::producer<Pointwise>(graph, v) != nullptr && !graph.is_output(v) && !value.users.empty() &&
         std::ranges::all_of(value.users, is_softmax);
}

// How far a tensor reaches, and on what data.
struct Wide {
  double magnitude;
  std::string_view source;
};

// Finds which of the values that a reduction to fp16 concerns are too large for it.
class Judge {
 public:
  Judge(const Graph& graph, const std::set<ValueId>& reduced, const std::set<NodeId>& kept)
      : graph_(graph), proofs_(value_bounds(graph)), limits_{.wide = {}, .saturated = {}, .kept = kept} {
    for (const auto& [v, bound] : proofs_) {
      if (!reduced.contains(v)) continue;
      if (is_softmax_input(graph, v) && bound.low < -kLargestF16) limits_.saturated.insert(v);
      if (!fits(v, bound, kProved)) open_.push_back(v);
    }
  }

  void by_calibration(const Thresholds& ranges) {
    if (open_.empty() || ranges.empty()) return;
    Bounds known;
    for (const auto& [v, proof] : proofs_) {
      const auto found = ranges.find(layout::framework_name(graph_, v));
      if (found == ranges.end()) continue;
      const double largest = std::max(found->second.whole, found->second.largest);
      // Of a threshold alone one cannot tell how much it clips, and where a mask is added which end is the large one.
      const bool whole = found->second.largest > 0, masked = limits_.saturated.contains(v);
      if (largest <= kSeen ? whole : !masked) known[v] = {-largest, largest};
    }
    const Bounds bounds = value_bounds(graph_, known);
    // What is worked out from the ranges of others may be far from what occurs: it can prove that a tensor fits alone.
    std::erase_if(open_, [&](ValueId v) {
      if (fits(v, bounds.at(v), kSeen)) return true;
      if (known.contains(v)) add_wide(v, known[v].magnitude(), "the data of the calibration");
      return known.contains(v);
    });
    follow_movements();
  }

  void by_random_data(const Machine& machine, SeenRanges& seen) {
    if (open_.empty()) return;
    if (!std::ranges::all_of(open_, [&](ValueId v) { return seen.contains(key(v)); })) {
      const auto ranges = ranges_on_random_data(graph_, open_, machine);
      if (!ranges.ok()) {
        notes_.push_back(fmt::format("whether fp16 can hold {} is not known: {}; {}", counted(open_.size(), "tensor"),
                                     ranges.status().message(), kAdvice));
        return;
      }
      for (ValueId v : open_) {
        std::optional<Interval>& known = seen[key(v)];
        const auto found = ranges->find(v);
        if (found != ranges->end()) known = known ? hull(*known, found->second) : found->second;
      }
    }
    const size_t before = wide_.size(), count = open_.size();
    for (ValueId v : open_) {
      const std::optional<Interval>& range = seen.at(key(v));
      if (range && !fits(v, *range, kSeen)) add_wide(v, range->magnitude(), "random data");
    }
    notes_.push_back(fmt::format("that fp16 can hold {} was seen on random data alone; {}",
                                 counted(count - (wide_.size() - before), "tensor"), kAdvice));
  }

  const Limits& limits() const { return limits_; }
  const std::map<ValueId, Wide>& wide() const { return wide_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  bool fits(ValueId v, const Interval& bound, double largest) const {
    return bound.high <= largest && (bound.low >= -largest || limits_.saturated.contains(v));
  }

  // The name of a tensor, or of what makes it; one for several tensors stands for all they reach.
  std::string key(ValueId v) const {
    const NodeId producer = graph_.value(v).producer;
    const std::string name = layout::framework_name(graph_, v);
    return name.empty() && producer != NodeId::none ? graph_.label(producer) : name;
  }

  // Where the values of a wide tensor move to.
  void follow_movements() {
    for (NodeId id : graph_.order()) {
      const Node& node = graph_.node(id);
      if (!keeps_values(node.op)) continue;
      for (size_t i = 0; i < data_inputs(node); ++i) {
        const auto from = wide_.find(node.inputs[i]);
        for (ValueId v : node.outputs)
          if (from != wide_.end() && std::erase(open_, v) > 0) add_wide(v, from->second.magnitude, from->second.source);
      }
    }
  }

  void add_wide(ValueId v, double magnitude, std::string_view source) {
    limits_.wide.insert(v);
    wide_[v] = {magnitude, source};
  }

  const Graph& graph_;
  Bounds proofs_;
  Limits limits_;
  std::vector<ValueId> open_;  // not known to fit, nor not to
  std::map<ValueId, Wide> wide_;
  std::vector<std::string> notes_;
};

}  // namespace

Result<std::vector<std::string>> reduce_safely(Graph& graph, DType type, const Machine& machine,
                                               const Thresholds& ranges, bool strict, SeenRanges& seen,
                                               const std::set<NodeId>& kept) {
  std::vector<std::string> notes;
  if (type != DType::f16) {
    reduce_precision(graph, type, machine, {.wide = {}, .saturated = {}, .kept = kept});
    return notes;
  }
  Graph trial = graph;
  const Reduction reduction = reduce_precision(trial, type, machine, {.wide = {}, .saturated = {}, .kept = kept});
  for (const WideConstant& wide : reduction.wide)
    notes.push_back(fmt::format("{} stays in fp32: its constant '{}' reaches {:.3g}", graph.label(wide.node),
                                graph.value(wide.constant).name, wide.magnitude));
  Judge judge(graph, reduction.values, kept);
  judge.by_calibration(ranges);
  judge.by_random_data(machine, seen);
  for (const auto& [v, wide] : judge.wide()) {
    const NodeId producer = graph.value(v).producer;
    notes.push_back(fmt::format("{}: '{}' stays in fp32: it reaches {:.3g} on {}",
                                producer == NodeId::none ? "input" : graph.label(producer),
                                layout::framework_name(graph, v), wide.magnitude, wide.source));
  }
  if (strict && !notes.empty()) return unsupported("fp16 ends at 65504: {}", fmt::join(notes, "; "));
  if (judge.limits().wide.empty() && judge.limits().saturated.empty()) graph = std::move(trial);
  else reduce_precision(graph, type, machine, judge.limits());
  notes.insert(notes.end(), judge.notes().begin(), judge.notes().end());
  return notes;
}

}  // namespace hone
