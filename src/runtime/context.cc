#include "runtime/context.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "engine/manifest.h"
#include "ops/sequence.h"

namespace hone {
namespace {

constexpr size_t kArenaAlign = 4096;

std::shared_ptr<std::byte> allocate_arena(int64_t bytes) {
  const size_t rounded =
      (static_cast<size_t>(std::max<int64_t>(bytes, 1)) + kArenaAlign - 1) / kArenaAlign * kArenaAlign;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kArenaAlign, rounded));
  if (memory == nullptr) throw std::bad_alloc();
  return {memory, std::free};
}

// An optional that holds nothing is bound as an undefined tensor, which only ops on optionals can read.
bool may_be_empty(const Program& program, int slot) {
  const auto reads = [&](const Step& step) {
    return std::find(step.inputs.begin(), step.inputs.end(), slot) != step.inputs.end();
  };
  return std::all_of(program.steps.begin(), program.steps.end(), [&](const Step& step) {
    return !reads(step) || step.op == OptionalHasElement::kName || step.op == OptionalGetElement::kName;
  });
}

// Tactics rely on inputs that the op takes and on outputs that it gives: a file may say otherwise.
Status check_problem(const EngineData& data, const Step& step, const Problem& problem) {
  Tensors values;
  for (int s : step.inputs) values.push_back(s < 0 ? Tensor() : data.constants[static_cast<size_t>(s)]);
  HONE_TRY(const Types inferred, problem.op.infer({problem.inputs, values, problem.outputs.size()}));
  if (inferred.size() < problem.outputs.size())
    return invalid("{} outputs, not {}", inferred.size(), problem.outputs.size());
  for (size_t i = 0; i < problem.outputs.size(); ++i)
    if (!agree(inferred[i], problem.outputs[i]))
      return invalid("output {} is {}, not {}", i, to_text(inferred[i]), to_text(problem.outputs[i]));
  return {};
}

}  // namespace

Result<std::shared_ptr<const LoadedEngine>> LoadedEngine::make(EngineData data) {
  auto engine = std::make_shared<LoadedEngine>();
  engine->data_ = std::move(data);
  const Program& program = engine->program();
  const Machine machine{.threads = program.threads, .max_tier = program.max_tier};
  for (const Step& step : program.steps) {
    const Tactic* tactic = find_tactic(step.tactic);
    if (tactic == nullptr)
      return Status(Code::device,
                    fmt::format("tactic '{}' is not in this build of Hone: build the engine again", step.tactic));
    HONE_TRY(Op op, make_op(step.op, step.attrs));
    Problem problem{.op = std::move(op), .inputs = step.input_types};
    for (int s : step.outputs) problem.outputs.push_back(program.slots[static_cast<size_t>(s)].type);
    if (const Status status = check_problem(engine->data_, step, problem); !status.ok())
      return status.within(fmt::format("step '{}' is malformed", step.label));
    if (const std::string reason = tactic->supports(problem, machine); !reason.empty())
      return Status(Code::device, fmt::format("step '{}': tactic '{}' does not run here ({}): build the engine again",
                                              step.label, step.tactic, reason));
    Tensors packed;
    for (int s : step.packed) packed.push_back(engine->data_.constants[static_cast<size_t>(s)]);
    HONE_TRY(auto kernel, tactic->make(problem, packed, step.variant, machine));
    if (kernel->workspace_bytes() > program.memory.arena_bytes - step.workspace_offset)
      return invalid("step '{}' needs more workspace than was planned", step.label);
    engine->kernels_.push_back(std::move(kernel));
  }
  return std::shared_ptr<const LoadedEngine>(std::move(engine));
}

ExecutionContext::ExecutionContext(std::shared_ptr<const LoadedEngine> engine)
    : engine_(std::move(engine)),
      arena_(allocate_arena(engine_->program().memory.arena_bytes)),
      pool_(engine_->program().threads),
      slots_(engine_->program().slots.size()),
      bound_(engine_->program().inputs.size(), false) {
  const Program& program = engine_->program();
  for (size_t s = 0; s < slots_.size(); ++s) {
    const Slot& slot = program.slots[s];
    if (slot.kind == Slot::Kind::constant) slots_[s] = engine_->data().constants[s];
    if (slot.kind == Slot::Kind::arena)
      slots_[s] = Tensor(slot.type.dtype, *slot.type.shape.concrete(), arena_.get() + slot.offset, arena_);
  }
  refresh_aliases();
  for (const Step& step : program.steps) {
    auto& inputs = step_inputs_.emplace_back();
    auto& outputs = step_outputs_.emplace_back();
    for (int s : step.inputs) inputs.push_back(slot(s));
    for (int s : step.outputs) outputs.push_back(slot(s));
  }
}

void ExecutionContext::refresh_aliases() {
  const auto& slots = engine_->program().slots;
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].kind != Slot::Kind::alias) continue;
    const Tensor& owner = slots_[static_cast<size_t>(slots[s].alias_of)];
    if (owner.defined() && slots_[s].raw() != owner.raw()) slots_[s] = owner.reshaped(*slots[s].type.shape.concrete());
  }
}

Status ExecutionContext::bind_input(std::string_view name, Tensor value) {
  const auto& inputs = engine_->program().inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].name != name) continue;
    if (!value.defined() && may_be_empty(engine_->program(), inputs[i].slot)) {
      slots_[static_cast<size_t>(inputs[i].slot)] = Tensor();
      bound_[i] = true;
      return {};
    }
    if (value.type() != inputs[i].type.dtype)
      return invalid("input '{}' is {}, not {}", name, hone::name(inputs[i].type.dtype), hone::name(value.type()));
    if (!accepts(inputs[i].type.shape, value.dims()))
      return invalid("input '{}' is {}, not of shape {}", name, to_text(inputs[i].type), to_string(value.dims()));
    slots_[static_cast<size_t>(inputs[i].slot)] = std::move(value);
    bound_[i] = true;
    return {};
  }
  std::string names;
  for (const Binding& b : inputs) names += (names.empty() ? "'" : ", '") + b.name + "'";
  return invalid("there is no input '{}'; the inputs are {}", name, names);
}

Result<Tensor> ExecutionContext::output(std::string_view name) const {
  for (const Binding& b : engine_->program().outputs)
    if (b.name == name) return slots_[static_cast<size_t>(b.slot)];
  return invalid("there is no output '{}'", name);
}

Tensors ExecutionContext::outputs() const {
  Tensors all;
  for (const Binding& b : engine_->program().outputs) all.push_back(slots_[static_cast<size_t>(b.slot)]);
  return all;
}

Status ExecutionContext::run_step(size_t index) {
  const Step& step = engine_->program().steps[index];
  return engine_->kernel(index).run(
      {step_inputs_[index], step_outputs_[index], arena_.get() + step.workspace_offset, pool_});
}

Status ExecutionContext::run() {
  const Program& program = engine_->program();
  for (size_t i = 0; i < bound_.size(); ++i)
    if (!bound_[i]) return invalid("input '{}' is not bound", program.inputs[i].name);
  refresh_aliases();
  for (const Slot& s : program.slots)
    if (s.kind == Slot::Kind::dynamic) slots_[static_cast<size_t>(&s - program.slots.data())] = Tensor();
  using Clock = std::chrono::steady_clock;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const auto start = profiler ? Clock::now() : Clock::time_point();
    const Status status = run_step(i);
    if (!status.ok()) return status.within(program.steps[i].label);
    if (profiler) profiler(i, std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  return {};
}

}  // namespace hone
