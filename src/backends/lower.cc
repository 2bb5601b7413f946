#include "backends/lower.h"

#include <algorithm>

#include "backends/arena.h"
#include "backends/control.h"
#include "backends/parts.h"
#include "backends/problem.h"
#include "backends/streams.h"
#include "backends/sub_batches.h"
#include "backends/variation.h"
#include "ops/movement.h"
#include "ops/shape.h"

namespace hone {
namespace {

bool has_fixed_size(const TensorType& type) { return type.shape.known() && size_of(type.dtype) > 0; }

// What is known of a graph's values while its nodes are lowered.
struct Scope {
  explicit Scope(const Graph& g) : graph(g) {
    for (NodeId id : graph.order())
      for (ValueId v : graph.node(id).inputs)
        if (v != ValueId::none) ++uses[v];
    for (ValueId v : graph.outputs()) ++uses[v];
    parts = parts_of_concats(graph);
  }

  const Graph& graph;
  std::map<ValueId, int> slot_of;
  std::map<ValueId, size_t> uses;  // later reads of a value
  std::map<ValueId, Part> parts;   // values that are written where a Concat wants them
};

class Lowering {
 public:
  Lowering(const Graph& graph, Selector& selector, const Machine& machine, const Refusals& refusals)
      : selector_(selector), machine_(machine), refusals_(refusals), top_(graph) {
    if (!on_gpu() && !selector.reference_only()) branches_ = branches_of(graph, machine.threads);
    if (on_gpu()) std::erase_if(top_.parts, [](const auto& part) { return !is_aligned(part.second.offset); });
  }

  Result<EngineData> run(const Progress& progress, bool keep_outputs) {
    const Graph& graph = top_.graph;
    program().name = graph.name;
    program().threads = machine_.threads;
    program().max_tier = machine_.max_tier;
    program().cuda_arch = machine_.cuda_arch;
    program().device = selector_.device();
    for (ValueId v : graph.inputs()) {
      const int slot = add_slot({.kind = Slot::Kind::input, .type = graph.type(v), .name = graph.value(v).name});
      top_.slot_of[v] = slot;
      program().inputs.push_back({graph.value(v).name, slot, graph.type(v)});
    }
    const auto order = top_order();
    for (NodeId id : order) HONE_CHECK(selector_.expect(problem_of(graph, id)).within(graph.label(id)));
    for (size_t i = 0; i < order.size(); ++i) {
      if (progress && !progress(i, order.size(), graph.label(order[i]))) return Status(Code::cancelled, "cancelled");
      HONE_CHECK(add_node(top_, order[i]));
    }
    for (size_t i = 0; i < graph.outputs().size(); ++i) {
      const int slot = slot_for(top_, graph.outputs()[i]);
      program().outputs.push_back({graph.output_names()[i], slot, graph.type(graph.outputs()[i])});
      if (keep_outputs) extend(slot, static_cast<int>(program().steps.size()));
    }
    plan();
    count_weights();
    program().build.tactics_timed = selector_.timed();
    program().build.cache_hits = selector_.cache_hits();
    return std::move(data_);
  }

 private:
  bool on_gpu() const { return !machine_.cuda_arch.empty(); }
  // Whether a GPU's kernels take a part of a value that begins there: as they take what has memory of its own.
  static bool is_aligned(int64_t offset) { return offset % 256 == 0; }
  Program& program() { return data_.program; }

  // That of the graph, but with branches side by side, as they run, and what they read before them.
  std::vector<NodeId> top_order() const {
    if (branches_.empty()) return top_.graph.order();
    std::vector<NodeId> order, rest;
    std::vector<std::vector<NodeId>> branches(static_cast<size_t>(machine_.threads));
    const auto is_given = [&](ValueId v) { return v == ValueId::none || top_.graph.value(v).producer == NodeId::none; };
    for (NodeId id : top_.graph.order()) {
      if (const auto branch = branches_.find(id); branch != branches_.end())
        branches[static_cast<size_t>(branch->second)].push_back(id);
      else (std::ranges::all_of(top_.graph.node(id).inputs, is_given) ? order : rest).push_back(id);
    }
    const size_t longest = std::ranges::max_element(branches, {}, &std::vector<NodeId>::size)->size();
    for (size_t i = 0; i < longest; ++i)
      for (const auto& branch : branches)
        if (i < branch.size()) order.push_back(branch[i]);
    order.insert(order.end(), rest.begin(), rest.end());
    return order;
  }

  int add_slot(Slot slot) {
    program().slots.push_back(std::move(slot));
    data_.constants.emplace_back();
    first_.push_back(static_cast<int>(program().steps.size()));
    last_.push_back(static_cast<int>(program().steps.size()));
    return static_cast<int>(program().slots.size()) - 1;
  }

  int add_constant(Tensor value, std::string name) {
    const int slot = add_slot(
        {.kind = Slot::Kind::constant, .type = {value.type(), Shape::of(value.dims())}, .name = std::move(name)});
    data_.constants[static_cast<size_t>(slot)] = std::move(value);
    return slot;
  }

  int slot_for(Scope& scope, ValueId v) {
    if (v == ValueId::none) return -1;
    const auto found = scope.slot_of.find(v);
    if (found != scope.slot_of.end()) return found->second;
    return scope.slot_of[v] = add_constant(scope.graph.value(v).constant, scope.graph.value(v).name);
  }

  int slot_for_packed(const Tensor& packed) {
    const auto [at, is_new] = packed_slots_.emplace(packed.raw(), 0);
    if (is_new) at->second = add_constant(packed, {});
    return at->second;
  }

  const Slot& slot(int index) const { return data_.program.slots[static_cast<size_t>(index)]; }

  int root(int index) const { return data_.program.place_of(index).owner; }

  void extend(int slot, int step) {
    if (slot < 0) return;
    int& last = last_[static_cast<size_t>(root(slot))];
    last = std::max(last, step);
  }

  Status add_node(Scope& scope, NodeId id) {
    const Graph& graph = scope.graph;
    const Node& node = graph.node(id);
    const Problem problem = problem_of(graph, id);
    Status status;
    if (selector_.reference_only()) status = add_kernel(scope, id, problem);
    else if (const auto bodies = lowered_bodies(problem); !bodies.empty())
      status = add_control(scope, id, problem, bodies);
    else if (is_view(scope, node, problem)) status = add_view(scope, node);
    else if (!join_in_place(scope, id) && !split_in_place(scope, id)) status = add_kernel(scope, id, problem);
    for (ValueId v : node.inputs)
      if (v != ValueId::none) --scope.uses[v];
    return status.within(graph.label(id));
  }

  Status add_kernel(Scope& scope, NodeId id, const Problem& problem) {
    const Node& node = scope.graph.node(id);
    const auto branch = &scope == &top_ ? branches_.find(id) : branches_.end();
    const bool beside = branch != branches_.end();
    HONE_TRY(Choice choice, (beside ? selector_.of_one_thread() : selector_).choose(problem, &scope == &top_));
    Step step = step_of(scope, id, problem);
    if (beside) {
      step.threads = 1;
      step.stream = branch->second;
    }
    step.tactic = choice.tactic->name;
    step.variant = choice.variant;
    step.varies = choice.tactic->varies.empty() ? variation_of(node.op) : choice.tactic->varies;
    step.time_us = choice.time_us;
    step.refused = std::move(choice.refused);
    if (const auto more = refusals_.find(id); &scope == &top_ && more != refusals_.end())
      step.refused.insert(step.refused.end(), more->second.begin(), more->second.end());
    step.library = std::move(choice.prepared.library);
    step.algorithm = std::move(choice.prepared.algorithm);
    const int index = static_cast<int>(program().steps.size());
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool dropped = i < choice.prepared.drops.size() && choice.prepared.drops[i];
      step.inputs.push_back(dropped ? -1 : slot_for(scope, node.inputs[i]));
      extend(step.inputs.back(), index);
    }
    for (const Tensor& t : choice.prepared.packed) step.packed.push_back(slot_for_packed(t));
    // What lies partly on the GPU and partly on the host is joined by a step.
    if (on_gpu() && choice.tactic->backend == Backend::cpu) scope.parts.erase(node.outputs[0]);
    const bool placed = scope.parts.contains(node.outputs[0]) || scope.slot_of.contains(node.outputs[0]);
    const int taken = placed ? -1 : in_place_slot(scope, *choice.tactic, problem, node);
    for (size_t i = 0; i < node.outputs.size(); ++i)
      step.outputs.push_back(add_output(scope, node.outputs[i], problem.is_static(), i == 0 ? taken : -1));

    Machine machine = machine_;
    if (beside) machine.threads = 1;
    HONE_TRY(auto kernel, choice.tactic->make(problem, packed_of(step), choice.variant, machine));
    step.workspace_bytes = kernel->workspace_bytes();
    program().steps.push_back(std::move(step));
    return {};
  }

  static Step step_of(const Scope& scope, NodeId id, const Problem& problem) {
    const Node& node = scope.graph.node(id);
    return {.op = std::string(node.op.name()),
            .attrs = node.op.attrs(),
            .input_types = problem.inputs,
            .sources = node.sources,
            .label = scope.graph.label(id)};
  }

  // A control step, then the steps of its bodies, which use the same slots and arena.
  Status add_control(Scope& scope, NodeId id, const Problem& problem, std::span<const ControlBody> bodies) {
    const Node& node = scope.graph.node(id);
    const auto index = program().steps.size();
    Step step = step_of(scope, id, problem);
    step.tactic = "control";
    // The steps that follow are all that runs of them; their constants as text would be read whenever an engine is.
    for (const ControlBody& body : bodies) step.attrs[std::string(body.attr)] = std::make_shared<const Graph>();
    for (ValueId v : node.inputs) step.inputs.push_back(slot_for(scope, v));
    for (ValueId v : node.outputs)
      step.outputs.push_back(add_output(scope, v, has_fixed_size(scope.graph.type(v)), -1));
    program().steps.push_back(step);
    for (const ControlBody& body : bodies) {
      HONE_TRY(Body lowered, add_body(step, body));
      step.bodies.push_back(std::move(lowered));
    }
    const int last = static_cast<int>(program().steps.size()) - 1;
    for (int s : step.inputs) extend(s, last);
    for (int s : step.outputs) extend(s, last);
    program().steps[index] = std::move(step);
    return {};
  }

  Result<Body> add_body(const Step& step, const ControlBody& body) {
    const Graph& graph = *body.graph;
    Scope scope(graph);
    Body lowered;
    const size_t before = program().steps.size();
    for (size_t i = 0; i < graph.inputs().size(); ++i) {
      const ValueId v = graph.inputs()[i];
      int slot = -1;
      if (i >= body.formals) {
        slot = step.inputs[body.first_input + i];
      } else {
        const bool state = i >= body.first_state && i < body.first_state + body.states;
        slot = state ? step.outputs[i - body.first_state]
                     : add_slot({.kind = has_fixed_size(graph.type(v)) ? Slot::Kind::arena : Slot::Kind::dynamic,
                                 .type = graph.type(v)});
        lowered.inputs.push_back(slot);
      }
      scope.slot_of[v] = slot;
      ++scope.uses[v];  // by whoever else looks at the memory: it is never taken over
    }
    for (NodeId id : graph.order()) HONE_CHECK(add_node(scope, id));
    const int last = static_cast<int>(program().steps.size()) - 1;
    for (ValueId v : graph.outputs()) {
      lowered.outputs.push_back(slot_for(scope, v));
      extend(lowered.outputs.back(), last);
    }
    for (int s : lowered.inputs) extend(s, last);
    lowered.steps = static_cast<int>(program().steps.size() - before);
    return lowered;
  }

  Tensors packed_of(const Step& step) const {
    Tensors packed;
    for (int s : step.packed) packed.push_back(data_.constants[static_cast<size_t>(s)]);
    return packed;
  }

  // Dynamic memory is not there yet when views are made.
  bool is_view(Scope& scope, const Node& node, const Problem& problem) {
    if (!node.op.view() || !problem.is_static() || problem.is_constant(0)) return false;
    return slot(root(slot_for(scope, node.inputs[0]))).kind != Slot::Kind::dynamic;
  }

  Status add_view(Scope& scope, const Node& node) {
    const int owner = slot_for(scope, node.inputs[0]);
    const ValueId out = node.outputs[0];
    if (!slot(root(owner)).type.shape.known()) return internal("view of a value without a fixed shape");
    scope.slot_of[out] = add_slot({.kind = Slot::Kind::alias,
                                   .type = scope.graph.type(out),
                                   .name = scope.graph.value(out).name,
                                   .alias_of = owner});
    sharers_[root(owner)] += 1;
    return {};
  }

  // The slot whose memory output 0 may take: it dies here, nothing else looks at it, and the sizes agree.
  int in_place_slot(Scope& scope, const Tactic& tactic, const Problem& problem, const Node& node) {
    if (tactic.in_place == nullptr || !problem.is_static()) return -1;
    const int i = tactic.in_place(problem);
    if (i < 0) return -1;
    const ValueId v = node.inputs[static_cast<size_t>(i)];
    const int taken = slot_for(scope, v);
    const int owner = root(taken);
    if (slot(owner).kind != Slot::Kind::arena || scope.uses[v] != 1 || sharers_[owner] != 0) return -1;
    const TensorType &from = scope.graph.type(v), &to = scope.graph.type(node.outputs[0]);
    if (from.dtype != to.dtype || element_count(*from.shape.concrete()) != element_count(*to.shape.concrete()))
      return -1;
    return taken;
  }

  // A Concat whose inputs were all written where it wants them needs no step.
  bool join_in_place(Scope& scope, NodeId id) {
    const Node& node = scope.graph.node(id);
    const auto whole = scope.slot_of.find(node.outputs[0]);
    if (node.op.as<Concat>() == nullptr || whole == scope.slot_of.end()) return false;
    const auto offsets = part_offsets(scope.graph, id);
    const auto to = program().place_of(whole->second);
    for (size_t i = 0; i < offsets.size(); ++i) {
      const auto from = program().place_of(slot_for(scope, node.inputs[i]));
      if (from.owner != to.owner || from.offset != to.offset + offsets[i]) return false;
    }
    return true;
  }

  // The outputs of a Split that are runs of its input's bytes are views of it.
  bool split_in_place(Scope& scope, NodeId id) {
    const Node& node = scope.graph.node(id);
    if (node.op.as<Split>() == nullptr) return false;
    const auto offsets = part_offsets(scope.graph, id);
    if (on_gpu() && !std::ranges::all_of(offsets, is_aligned)) return false;
    const int whole = slot_for(scope, node.inputs[0]);
    const Slot::Kind kind = slot(root(whole)).kind;
    if (offsets.empty() || (kind != Slot::Kind::arena && kind != Slot::Kind::input)) return false;
    for (size_t i = 0; i < offsets.size(); ++i) add_part(scope, node.outputs[i], whole, offsets[i]);
    return true;
  }

  int add_part(Scope& scope, ValueId v, int whole, int64_t offset) {
    sharers_[root(whole)] += 1;
    return scope.slot_of[v] = add_slot({.kind = Slot::Kind::alias,
                                        .type = scope.graph.type(v),
                                        .name = scope.graph.value(v).name,
                                        .offset = offset,
                                        .alias_of = whole});
  }

  // The slot of a value that may be part of another, made with all that it is part of.
  int slot_in_whole(Scope& scope, ValueId v) {
    if (const auto found = scope.slot_of.find(v); found != scope.slot_of.end()) return found->second;
    const auto part = scope.parts.find(v);
    if (part != scope.parts.end())
      return add_part(scope, v, slot_in_whole(scope, part->second.whole), part->second.offset);
    return scope.slot_of[v] =
               add_slot({.kind = Slot::Kind::arena, .type = scope.graph.type(v), .name = scope.graph.value(v).name});
  }

  int add_output(Scope& scope, ValueId v, bool planned, int taken) {
    const bool placed = scope.parts.contains(v) || scope.slot_of.contains(v);
    if (placed && planned && !selector_.reference_only()) {
      const int index = slot_in_whole(scope, v);
      extend(index, static_cast<int>(program().steps.size()));
      return index;
    }
    Slot slot{.kind = planned ? Slot::Kind::arena : Slot::Kind::dynamic,
              .type = scope.graph.type(v),
              .name = scope.graph.value(v).name};
    if (taken >= 0) {
      slot.kind = Slot::Kind::alias;
      slot.alias_of = taken;
    }
    const int index = add_slot(std::move(slot));
    extend(index, static_cast<int>(program().steps.size()));
    return scope.slot_of[v] = index;
  }

  void plan() {
    std::vector<Lifetime> lives;
    for (size_t s = 0; s < first_.size(); ++s) lives.push_back({first_[s], last_[s], 0, {first_[s], last_[s]}});
    branches_.empty() ? plan_arena(program(), lives) : plan_branches(program(), lives);
  }

  void count_weights() {
    for (const Tensor& t : data_.constants)
      if (t.defined() && t.type() != DType::string) program().memory.weights_bytes += static_cast<int64_t>(t.bytes());
  }

  Selector& selector_;
  const Machine& machine_;
  const Refusals& refusals_;  // of the nodes of top_
  Scope top_;
  EngineData data_;
  std::map<int, int> sharers_;  // views of a slot's memory
  std::map<const void*, int> packed_slots_;
  std::map<NodeId, int> branches_;  // of top_
  std::vector<int> first_, last_;
};

}  // namespace

Result<EngineData> lower(const Graph& graph, Selector& selector, const Machine& machine, const Progress& progress,
                         const Refusals& refusals, bool keep_outputs) {
  return Lowering(graph, selector, machine, refusals).run(progress, keep_outputs);
}

}  // namespace hone
