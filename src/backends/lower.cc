#include "backends/lower.h"

#include <algorithm>

#include "plan/memory.h"

namespace hone {
namespace {

constexpr int64_t kAlign = 64;

class Lowering {
 public:
  Lowering(const Graph& graph, Selector& selector, const Machine& machine) : graph_(graph), selector_(selector), machine_(machine) {}

  Result<EngineData> run(const Progress& progress) {
    program().name = graph_.name;
    program().threads = machine_.threads;
    program().max_tier = machine_.max_tier;
    program().device = selector_.device();
    count_uses();
    for (ValueId v : graph_.inputs()) {
      const int slot = add_slot({.kind = Slot::Kind::input, .type = graph_.type(v), .name = graph_.value(v).name});
      slot_of_[v] = slot;
      program().inputs.push_back({graph_.value(v).name, slot, graph_.type(v)});
    }
    const auto order = graph_.order();
    for (size_t i = 0; i < order.size(); ++i) {
      if (progress && !progress(i, order.size(), graph_.label(order[i]))) return Status(Code::cancelled, "cancelled");
      const Status status = add_node(order[i]);
      if (!status.ok()) return status.within(graph_.label(order[i]));
    }
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const int slot = slot_for(graph_.outputs()[i]);
      program().outputs.push_back({graph_.output_names()[i], slot, graph_.type(graph_.outputs()[i])});
      extend(slot, static_cast<int>(program().steps.size()));
    }
    plan();
    place_weights();
    program().build.tactics_timed = selector_.timed();
    program().build.cache_hits = selector_.cache_hits();
    return std::move(data_);
  }

 private:
  Program& program() { return data_.program; }

  int add_slot(Slot slot) {
    program().slots.push_back(std::move(slot));
    data_.constants.emplace_back();
    first_.push_back(static_cast<int>(program().steps.size()));
    last_.push_back(static_cast<int>(program().steps.size()));
    return static_cast<int>(program().slots.size()) - 1;
  }

  int add_constant(Tensor value, std::string name) {
    const int slot = add_slot({.kind = Slot::Kind::constant, .type = {value.type(), Shape::of(value.dims())}, .name = std::move(name)});
    data_.constants[static_cast<size_t>(slot)] = std::move(value);
    return slot;
  }

  int slot_for(ValueId v) {
    if (v == ValueId::none) return -1;
    const auto found = slot_of_.find(v);
    if (found != slot_of_.end()) return found->second;
    return slot_of_[v] = add_constant(graph_.value(v).constant, graph_.value(v).name);
  }

  int root(int slot) const {
    while (data_.program.slots[static_cast<size_t>(slot)].kind == Slot::Kind::alias)
      slot = data_.program.slots[static_cast<size_t>(slot)].alias_of;
    return slot;
  }

  // Only such memory can have views: that of a dynamic value is made anew by each run.
  bool stays_in_place(ValueId v) {
    return program().slots[static_cast<size_t>(root(slot_for(v)))].kind != Slot::Kind::dynamic;
  }

  void extend(int slot, int step) {
    if (slot < 0) return;
    int& last = last_[static_cast<size_t>(root(slot))];
    last = std::max(last, step);
  }

  // How many later reads the memory of a value still has.
  void count_uses() {
    for (NodeId id : graph_.order())
      for (ValueId v : graph_.node(id).inputs)
        if (v != ValueId::none) ++uses_[v];
    for (ValueId v : graph_.outputs()) ++uses_[v];
  }

  Status add_node(NodeId id) {
    const Node& node = graph_.node(id);
    Problem problem{.op = node.op};
    for (ValueId v : node.inputs) {
      problem.inputs.push_back(graph_.type(v));
      problem.constants.push_back(graph_.value(v).constant);
    }
    for (ValueId v : node.outputs) problem.outputs.push_back(graph_.type(v));
    if (node.op.view() && problem.is_static() && !problem.is_constant(0) && stays_in_place(node.inputs[0]))
      return add_view(node);

    HONE_TRY(Choice choice, selector_.choose(problem));
    Step step{.tactic = std::string(choice.tactic->name), .variant = choice.variant, .op = std::string(node.op.name()),
              .attrs = node.op.attrs(), .input_types = problem.inputs, .sources = node.sources,
              .label = graph_.label(id), .time_us = choice.time_us, .refused = std::move(choice.refused)};
    const int index = static_cast<int>(program().steps.size());
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool dropped = i < choice.prepared.drops.size() && choice.prepared.drops[i];
      step.inputs.push_back(dropped ? -1 : slot_for(node.inputs[i]));
      extend(step.inputs.back(), index);
    }
    for (Tensor& t : choice.prepared.packed) step.packed.push_back(add_constant(std::move(t), {}));
    const int taken = in_place_slot(*choice.tactic, problem, node);
    for (size_t i = 0; i < node.outputs.size(); ++i) step.outputs.push_back(add_output(node.outputs[i], problem, i == 0 ? taken : -1));

    HONE_TRY(auto kernel, choice.tactic->make(problem, packed_of(step), choice.variant, machine_));
    workspaces_.push_back(kernel->workspace_bytes());
    program().steps.push_back(std::move(step));
    for (ValueId v : node.inputs)
      if (v != ValueId::none) --uses_[v];
    return {};
  }

  Tensors packed_of(const Step& step) const {
    Tensors packed;
    for (int s : step.packed) packed.push_back(data_.constants[static_cast<size_t>(s)]);
    return packed;
  }

  Status add_view(const Node& node) {
    const int owner = slot_for(node.inputs[0]);
    const ValueId out = node.outputs[0];
    const bool planned = program().slots[static_cast<size_t>(root(owner))].type.shape.known();
    if (!planned) return internal("view of a value without a fixed shape");
    slot_of_[out] = add_slot({.kind = Slot::Kind::alias, .type = graph_.type(out), .name = graph_.value(out).name, .alias_of = owner});
    for (ValueId v : node.inputs)
      if (v != ValueId::none) --uses_[v];
    sharers_[root(owner)] += 1;
    return {};
  }

  // The slot whose memory output 0 may take: it dies here, nothing else looks at it, and the sizes agree.
  int in_place_slot(const Tactic& tactic, const Problem& problem, const Node& node) {
    if (tactic.in_place == nullptr || !problem.is_static()) return -1;
    const int i = tactic.in_place(problem);
    if (i < 0) return -1;
    const ValueId v = node.inputs[static_cast<size_t>(i)];
    const int slot = slot_for(v);
    const int owner = root(slot);
    if (program().slots[static_cast<size_t>(owner)].kind != Slot::Kind::arena || uses_[v] != 1 || sharers_[owner] != 0) return -1;
    const TensorType &from = graph_.type(v), &to = graph_.type(node.outputs[0]);
    if (from.dtype != to.dtype || element_count(*from.shape.concrete()) != element_count(*to.shape.concrete())) return -1;
    return slot;
  }

  int add_output(ValueId v, const Problem& problem, int taken) {
    Slot slot{.kind = problem.is_static() ? Slot::Kind::arena : Slot::Kind::dynamic, .type = graph_.type(v), .name = graph_.value(v).name};
    if (taken >= 0) {
      slot.kind = Slot::Kind::alias;
      slot.alias_of = taken;
    }
    const int index = add_slot(std::move(slot));
    extend(index, static_cast<int>(program().steps.size()));
    return slot_of_[v] = index;
  }

  void plan() {
    std::vector<Lifetime> lifetimes;
    std::vector<int> owners;  // slot, or -1 - step for a workspace
    const auto& slots = program().slots;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].kind != Slot::Kind::arena) continue;
      const int64_t bytes = element_count(*slots[s].type.shape.concrete()) * static_cast<int64_t>(size_of(slots[s].type.dtype));
      lifetimes.push_back({first_[s], last_[s], bytes});
      owners.push_back(static_cast<int>(s));
    }
    for (size_t i = 0; i < workspaces_.size(); ++i) {
      if (workspaces_[i] == 0) continue;
      lifetimes.push_back({static_cast<int>(i), static_cast<int>(i), workspaces_[i]});
      owners.push_back(-1 - static_cast<int>(i));
      program().memory.workspace_bytes = std::max(program().memory.workspace_bytes, workspaces_[i]);
    }
    const MemoryPlan plan = plan_memory(lifetimes, kAlign);
    for (size_t i = 0; i < owners.size(); ++i) {
      if (owners[i] >= 0) program().slots[static_cast<size_t>(owners[i])].offset = plan.offsets[i];
      else program().steps[static_cast<size_t>(-1 - owners[i])].workspace_offset = plan.offsets[i];
    }
    program().memory.arena_bytes = plan.arena_bytes;
    program().memory.lower_bound_bytes = plan.lower_bound_bytes;
    program().memory.without_reuse_bytes = plan.without_reuse_bytes;
  }

  void place_weights() {
    int64_t at = 0;
    for (size_t s = 0; s < program().slots.size(); ++s) {
      if (program().slots[s].kind != Slot::Kind::constant) continue;
      const Tensor& t = data_.constants[s];
      program().slots[s].offset = at;
      if (t.type() != DType::string) at = (at + static_cast<int64_t>(t.bytes()) + kAlign - 1) / kAlign * kAlign;
    }
    program().memory.weights_bytes = at;
  }

  const Graph& graph_;
  Selector& selector_;
  const Machine& machine_;
  EngineData data_;
  std::map<ValueId, int> slot_of_;
  std::map<ValueId, size_t> uses_;
  std::map<int, int> sharers_;  // views of a slot's memory
  std::vector<int> first_, last_;
  std::vector<int64_t> workspaces_;
};

}  // namespace

Result<EngineData> lower(const Graph& graph, Selector& selector, const Machine& machine, const Progress& progress) {
  return Lowering(graph, selector, machine).run(progress);
}

}  // namespace hone
