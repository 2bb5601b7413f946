#include "runtime/context.h"

#include <fmt/ranges.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>

#include "base/out_of_memory.h"
#include "ops/sequence.h"
#include "runtime/control.h"

namespace hone {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPage = 4096, kLargePage = size_t{2} << 20;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

std::shared_ptr<std::byte> allocate_arena(int64_t bytes) {
  const size_t align = bytes < static_cast<int64_t>(kLargePage) ? kPage : kLargePage;
  const size_t rounded = (static_cast<size_t>(std::max<int64_t>(bytes, 1)) + kPage - 1) / kPage * kPage;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(align, rounded));
  if (memory == nullptr) throw OutOfMemory(rounded);
  if (align == kLargePage) (void)madvise(memory, rounded, MADV_HUGEPAGE);
  return {memory, std::free};
}

// An optional that holds nothing is bound as an undefined tensor, which only ops on optionals can read and bodies
// can hand on.
bool may_be_empty(const Program& program, int slot) {
  const auto reads = [&](const Step& step) {
    return std::find(step.inputs.begin(), step.inputs.end(), slot) != step.inputs.end();
  };
  return std::all_of(program.steps.begin(), program.steps.end(), [&](const Step& step) {
    return !reads(step) || !step.bodies.empty() || step.op == OptionalHasElement::kName ||
           step.op == OptionalGetElement::kName;
  });
}

// Kernels read and write so many bytes at once.
Status check_device_memory(const Tensor& memory) {
  constexpr uintptr_t kAlign = 16;
  if (reinterpret_cast<uintptr_t>(memory.raw()) % kAlign == 0) return {};
  return invalid("memory on the GPU is not aligned to {} bytes", kAlign);
}

}  // namespace

ExecutionContext::ExecutionContext(std::shared_ptr<const LoadedEngine> engine)
    : engine_(std::move(engine)),
      arena_(allocate_arena(engine_->program().memory.arena_bytes)),
      pool_(engine_->program().threads),
      slots_(engine_->program().slots.size()),
      bound_(engine_->program().inputs.size(), false),
      device_inputs_(engine_->program().inputs.size()),
      device_outputs_(engine_->program().outputs.size()) {
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

ExecutionContext::~ExecutionContext() {
  if (waits_) (void)enqueued_->synchronize();
}

void ExecutionContext::refresh_aliases() {
  const auto& slots = engine_->program().slots;
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].kind != Slot::Kind::alias) continue;
    const Tensor& owner = slots_[static_cast<size_t>(slots[s].alias_of)];
    if (!owner.defined() || (slots_[s].defined() && slots_[s].raw() == owner.data<std::byte>() + slots[s].offset))
      continue;
    slots_[s] = owner.part(*slots[s].type.shape.concrete(), slots[s].offset);
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
    device_inputs_[i] = Tensor();
    if (lies_on_device(value.raw())) {
      if (!engine_->all_on_gpu()) return unsupported("input '{}' lies on the GPU, and some steps run on the CPU", name);
      HONE_CHECK(check_device_memory(value).within(fmt::format("input '{}'", name)));
      device_inputs_[i] = std::move(value);
      bound_[i] = true;
      return {};
    }
    slots_[static_cast<size_t>(inputs[i].slot)] = std::move(value);
    bound_[i] = true;
    return {};
  }
  std::string names;
  for (const Binding& b : inputs) names += (names.empty() ? "'" : ", '") + b.name + "'";
  return invalid("there is no input '{}'; the inputs are {}", name, names);
}

Status ExecutionContext::bind_device_output(std::string_view name, const Tensor& memory) {
  const auto& outputs = engine_->program().outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Binding& b = outputs[i];
    if (b.name != name) continue;
    device_outputs_[i] = Tensor();
    if (!memory.defined()) return {};
    if (!engine_->device_weights() || !engine_->all_on_gpu())
      return unsupported("output '{}' is bound to the GPU, and steps run on the CPU", name);
    if (memory.type() != b.type.dtype || !accepts(b.type.shape, memory.dims()))
      return invalid("output '{}' is {}, not {}", name, to_text(b.type),
                     to_text(TensorType{memory.type(), Shape::of(memory.dims())}));
    HONE_CHECK(check_device_memory(memory).within(fmt::format("output '{}'", name)));
    device_outputs_[i] = memory;
    return {};
  }
  return invalid("there is no output '{}'", name);
}

const Tensor* ExecutionContext::left_output(size_t index) const {
  return device_ && index < left_.size() && left_[index] ? device_->value(engine_->program().outputs[index].slot)
                                                         : nullptr;
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
  if (!step.bodies.empty())
    return run_control(engine_->control(index), {engine_->program(), index, slots_,
                                                 [this](size_t begin, size_t end) { return run_steps(begin, end); }});
  return engine_->kernel(index).run({step_inputs_[index], step_outputs_[index], arena_.get() + step.workspace_offset,
                                     step.threads == 1 ? cpu::one_thread() : pool_});
}

Status ExecutionContext::run_step_on_gpu(size_t index, cuda::Stream& stream) {
  return engine_->kernel(index).run({.inputs = device_->inputs(index),
                                     .outputs = device_->outputs(index),
                                     .workspace = device_->arena() + engine_->program().steps[index].workspace_offset,
                                     .pool = pool_,
                                     .packed = device_->packed(index),
                                     .stream = &stream,
                                     .fault = device_->fault(index)});
}

Status ExecutionContext::run_steps(size_t begin, size_t end) {
  const auto& steps = engine_->program().steps;
  for (size_t i = begin; i < end; i += 1 + static_cast<size_t>(steps[i].inner_steps())) {
    if (steps[i].threads == 1 && !profiler && !observer) {
      const size_t first = i;
      while (i + 1 < end && steps[i + 1].threads == 1) ++i;
      HONE_CHECK(run_side_by_side(first, i + 1));
      continue;
    }
    const bool timed = profiler && steps[i].bodies.empty();
    const auto start = timed ? Clock::now() : Clock::time_point();
    const Status status = run_step(i);
    if (!status.ok()) return status.within(steps[i].label);
    if (timed) profiler(i, microseconds_since(start));
    if (observer) HONE_CHECK(observer(i));
  }
  return {};
}

// Steps of one thread each: those of a stream in their order.
Status ExecutionContext::run_side_by_side(size_t begin, size_t end) {
  const auto& steps = engine_->program().steps;
  std::mutex mutex;
  Status first_failure;
  pool_.parallel(pool_.size(), [&](int64_t stream, int) {
    for (size_t i = begin; i < end; ++i) {
      if (steps[i].stream != stream) continue;
      Status status = run_step(i);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      if (first_failure.ok()) first_failure = status.within(steps[i].label);
      return;
    }
  });
  return first_failure;
}

Status ExecutionContext::fetch(std::span<const int> slots) {
  if (!device_) return {};
  for (const int s : slots) HONE_CHECK(device_->fetch(s, false, slots_));
  return device_->finish();
}

Result<std::span<const Tensor* const>> ExecutionContext::fetch_step(size_t step) {
  const Step& of = engine_->program().steps[step];
  if (engine_->on_gpu()[step]) HONE_CHECK(fetch(of.outputs).within(of.label));
  return std::span<const Tensor* const>(step_outputs_[step]);
}

Result<Tensor> ExecutionContext::fetch_output(size_t index) {
  HONE_CHECK(fetch({&engine_->program().outputs[index].slot, 1}));
  return output(index);
}

Status ExecutionContext::check_bound() const {
  for (size_t i = 0; i < bound_.size(); ++i)
    if (!bound_[i]) return invalid("input '{}' is not bound", engine_->program().inputs[i].name);
  return {};
}

Status ExecutionContext::run() {
  const Program& program = engine_->program();
  HONE_CHECK(check_bound());
  HONE_CHECK(synchronize());
  refresh_aliases();
  for (const Slot& s : program.slots)
    if (s.kind == Slot::Kind::dynamic) slots_[static_cast<size_t>(&s - program.slots.data())] = Tensor();
  return engine_->device_weights() ? run_with_gpu() : run_steps(0, program.steps.size());
}

// A recorded graph holds addresses: it is recorded again when one of them is another.
Status ExecutionContext::bind_on_device() {
  const Program& program = engine_->program();
  bool changed = false;
  for (size_t i = 0; i < program.inputs.size(); ++i)
    changed |= device_->bind(program.inputs[i].slot, device_inputs_[i]);
  // What shares its memory with others stays there and is copied out; of outputs that are one value, all but the first.
  const auto& outputs = program.outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int slot = outputs[i].slot;
    const bool again = std::any_of(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i),
                                   [&](const Binding& before) { return before.slot == slot; });
    if (program.slots[static_cast<size_t>(slot)].kind == Slot::Kind::arena && !again)
      changed |= device_->bind(slot, device_outputs_[i]);
  }
  if (changed) graph_.reset();
  return {};
}

Status ExecutionContext::begin_on_gpu() {
  if (!device_) {
    HONE_TRY(auto device, DeviceSide::create(engine_->program(), engine_->device_weights(), engine_->on_gpu()));
    HONE_TRY(streams_, ForkedStreams::create(engine_->program()));
    device_ = std::move(device);
  }
  HONE_CHECK(bind_on_device());
  return device_->start();
}

Status ExecutionContext::launch_steps(cuda::Stream& stream) {
  return streams_->run(stream, [this](size_t step, cuda::Stream& own) {
    return run_step_on_gpu(step, own).within(engine_->program().steps[step].label);
  });
}

Status ExecutionContext::record_graph() {
  if (graph_) return {};
  HONE_CHECK(cuda::Graph::begin(device_->stream()));
  const Status launched = launch_steps(device_->stream());
  auto graph = cuda::Graph::end(device_->stream());
  HONE_CHECK(launched);
  HONE_TRY(graph_, std::move(graph));
  return {};
}

Status ExecutionContext::take_fault() {
  const int step = engine_->reports_faults() && device_ ? device_->take_fault() : -1;
  if (step < 0) return {};
  return invalid("{}: {}", engine_->program().steps[static_cast<size_t>(step)].label,
                 engine_->kernel(static_cast<size_t>(step)).fault());
}

// One message for all that is on the host.
Status ExecutionContext::check_all_on_gpu() const {
  const Program& program = engine_->program();
  std::vector<std::string> there;
  for (size_t i = 0; i < program.steps.size(); ++i)
    if (!engine_->on_gpu()[i]) there.push_back(program.steps[i].label + " runs on the CPU");
  for (size_t i = 0; i < program.inputs.size(); ++i)
    if (!device_inputs_[i].defined())
      there.push_back(fmt::format("input '{}' is bound to memory of the host", program.inputs[i].name));
  for (size_t i = 0; i < program.outputs.size(); ++i)
    if (!device_outputs_[i].defined())
      there.push_back(fmt::format("output '{}' is not bound to memory of the GPU", program.outputs[i].name));
  if (there.empty()) return {};
  return unsupported("only what is on the GPU as a whole can be enqueued: {}", fmt::join(there, ", "));
}

// `as_graph`: as the one that was recorded, else step by step.
Status ExecutionContext::launch_run(cuda::Stream& stream, bool as_graph) {
  if (as_graph) {
    HONE_CHECK(record_graph());
    HONE_CHECK(graph_->launch(stream));
  } else {
    HONE_CHECK(launch_steps(stream));
  }
  const auto& outputs = engine_->program().outputs;
  for (size_t i = 0; i < outputs.size(); ++i)
    HONE_CHECK(device_->copy_out(outputs[i].slot, device_outputs_[i], stream));
  return {};
}

Status ExecutionContext::enqueue(cuda::CUstr* handle) {
  HONE_CHECK(check_bound());
  HONE_CHECK(check_all_on_gpu());
  HONE_CHECK(take_fault().within("a run enqueued before"));
  HONE_CHECK(cuda::make_current(engine_->device_weights()->ordinal()));
  auto stream = cuda::Stream::of(handle);
  HONE_TRY(const bool captured, stream.capturing());
  if (captured && runs_ == 0)
    return invalid("the stream is being captured, and the first run loads and allocates: run once before");
  HONE_CHECK(begin_on_gpu());
  if (captured) return launch_run(stream, false);
  if (!enqueued_) {
    HONE_TRY(enqueued_, cuda::Event::create());
  }
  HONE_CHECK(stream.wait(*enqueued_));
  Status launched = launch_run(stream, runs_ > 0);
  HONE_CHECK(enqueued_->record(stream));  // part of it may run
  waits_ = true;
  if (launched.ok()) ++runs_;
  return launched;
}

Status ExecutionContext::synchronize() {
  if (waits_) HONE_CHECK(enqueued_->synchronize());
  waits_ = false;
  return take_fault().within("a run enqueued before");
}

Status ExecutionContext::run_on_both_sides() {
  const Program& program = engine_->program();
  const auto& on_gpu = engine_->on_gpu();
  size_t next = 0;
  for (size_t i = 0; i < program.steps.size(); i = next) {
    const Step& step = program.steps[i];
    next = i + 1 + static_cast<size_t>(step.inner_steps());
    const bool timed = profiler && step.bodies.empty();
    const auto start = timed ? Clock::now() : Clock::time_point();
    // The bodies of a control step run on the host as a whole.
    for (size_t k = i; k < next; ++k)
      for (int s : program.steps[k].inputs) HONE_CHECK(device_->fetch(s, on_gpu[i], slots_).within(step.label));
    for (const Body& body : step.bodies)
      for (int s : body.outputs) HONE_CHECK(device_->fetch(s, false, slots_).within(step.label));
    if (!on_gpu[i]) HONE_CHECK(device_->finish().within(step.label));
    HONE_CHECK((on_gpu[i] ? run_step_on_gpu(i, device_->stream()) : run_step(i)).within(step.label));
    for (size_t k = i; k < next; ++k)
      for (int s : program.steps[k].outputs) device_->wrote(s, on_gpu[i]);
    if (timed) {
      HONE_CHECK(device_->finish().within(step.label));
      profiler(i, microseconds_since(start));
    }
    if (observer) HONE_CHECK(observer(i));
  }
  return {};
}

// The first run loads the kernels; the second records a graph of them when no step needs the host, and later ones
// launch that.
Status ExecutionContext::run_with_gpu() {
  const Program& program = engine_->program();
  HONE_CHECK(begin_on_gpu());
  if (times_device && !begun_) {
    HONE_TRY(begun_, cuda::Event::create());
    HONE_TRY(ended_, cuda::Event::create());
  }
  const bool as_graph = engine_->all_on_gpu() && !profiler && !observer && runs_ > 0;
  if (as_graph) {
    for (const Binding& b : program.inputs)
      if (device_->has(b.slot)) HONE_CHECK(device_->fetch(b.slot, true, slots_));
    HONE_CHECK(record_graph());
    if (times_device) HONE_CHECK(begun_->record(device_->stream()));
    HONE_CHECK(graph_->launch(device_->stream()));
    if (times_device) HONE_CHECK(ended_->record(device_->stream()));
    for (const Step& step : program.steps)
      for (int s : step.outputs) device_->wrote(s, true);
  } else {
    HONE_CHECK(run_on_both_sides());
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const int slot = program.outputs[i].slot;
    if (left_output(i) != nullptr) continue;
    HONE_CHECK(device_outputs_[i].defined() ? device_->copy_out(slot, device_outputs_[i], device_->stream())
                                            : device_->fetch(slot, false, slots_));
  }
  ++runs_;
  HONE_CHECK(device_->finish());
  HONE_CHECK(take_fault());
  if (times_device && as_graph) {
    HONE_TRY(device_us_, ended_->since(*begun_));
  }
  return {};
}

}  // namespace hone
