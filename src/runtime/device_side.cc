#include "runtime/device_side.h"

#include <atomic>

#include "base/counted.h"

namespace hone {
namespace {

constexpr int64_t kAlign = 256;

Result<Tensor> allocate(const TensorType& type, std::vector<std::shared_ptr<std::byte>>& memory) {
  const Dims dims = *type.shape.concrete();
  HONE_TRY(auto bytes, cuda::allocate(element_count(dims) * static_cast<int64_t>(size_of(type.dtype))));
  memory.push_back(bytes);
  return Tensor(type.dtype, dims, bytes.get(), bytes);
}

bool fixed(const TensorType& type) { return type.defined() && type.shape.known() && size_of(type.dtype) > 0; }

}  // namespace

Result<std::shared_ptr<const DeviceWeights>> DeviceWeights::upload(const EngineData& data) {
  const Program& program = data.program;
  auto weights = std::make_shared<DeviceWeights>();
  const auto ordinal = cuda::ordinal_of(program.target);
  if (!ordinal) return invalid("an engine with GPU code for target '{}'", program.target);
  weights->ordinal_ = *ordinal;
  HONE_TRY(const cuda::Device device, cuda::device(*ordinal));
  if (!device.runs(program.cuda_arch))
    return Status(Code::device, fmt::format("the engine is built for {}, and GPU {} ({}) is {}: build it again here",
                                            program.cuda_arch, *ordinal, device.name, device.arch()));
  HONE_CHECK(cuda::make_current(*ordinal));
  HONE_TRY(auto stream, cuda::Stream::create());
  weights->constants_.resize(program.slots.size());
  int64_t bytes = 0;
  const auto stored = [&](size_t s) {
    return data.constants[s].defined() && data.constants[s].type() != DType::string &&
           data.constants[s].raw() != nullptr;
  };
  for (size_t s = 0; s < program.slots.size(); ++s)
    if (stored(s)) bytes += (static_cast<int64_t>(data.constants[s].bytes()) + kAlign - 1) / kAlign * kAlign;
  HONE_TRY(auto memory, cuda::allocate(bytes));
  int64_t at = 0;
  for (size_t s = 0; s < program.slots.size(); ++s) {
    if (!stored(s)) continue;
    const Tensor& t = data.constants[s];
    HONE_CHECK(stream->copy_to_device(memory.get() + at, t.raw(), t.bytes()));
    weights->constants_[s] = Tensor(t.type(), t.dims(), memory.get() + at, memory);
    at += (static_cast<int64_t>(t.bytes()) + kAlign - 1) / kAlign * kAlign;
  }
  HONE_CHECK(stream->synchronize());
  return std::shared_ptr<const DeviceWeights>(std::move(weights));
}

Result<std::unique_ptr<DeviceSide>> DeviceSide::create(const Program& program,
                                                       std::shared_ptr<const DeviceWeights> weights,
                                                       const std::vector<bool>& on_gpu) {
  auto side = std::make_unique<DeviceSide>();
  side->program_ = &program;
  side->weights_ = std::move(weights);
  HONE_CHECK(cuda::make_current(side->weights_->ordinal()));
  HONE_TRY(side->stream_, cuda::Stream::create());
  HONE_TRY(auto arena, cuda::allocate(program.memory.arena_bytes));
  side->memory_.push_back(arena);
  HONE_TRY(side->faults_, cuda::allocate_on_host(static_cast<int64_t>(program.steps.size() * sizeof(int32_t))));
  std::vector<bool> read(program.slots.size(), false);  // by a step on the GPU
  for (size_t i = 0; i < program.steps.size(); ++i)
    for (int s : program.steps[i].inputs)
      if (on_gpu[i] && s >= 0) read[side->root(s)] = true;
  side->slots_.resize(program.slots.size());
  side->newest_.resize(program.slots.size(), kNobody);
  for (size_t s = 0; s < program.slots.size(); ++s) {
    const Slot& slot = program.slots[s];
    if (slot.kind == Slot::Kind::constant) side->slots_[s] = side->weights_->constant(s);
    if (slot.kind == Slot::Kind::arena)
      side->slots_[s] = Tensor(slot.type.dtype, *slot.type.shape.concrete(), arena.get() + slot.offset, arena);
    if ((slot.kind == Slot::Kind::input || slot.kind == Slot::Kind::dynamic) && read[s] && fixed(slot.type)) {
      HONE_TRY(side->slots_[s], allocate(slot.type, side->memory_));
    }
  }
  side->own_ = side->slots_;
  side->bound_.resize(program.slots.size(), false);
  side->refresh_aliases();
  for (const Step& step : program.steps) {
    const auto at = [&](int s) { return s < 0 ? &side->absent_ : &side->slots_[static_cast<size_t>(s)]; };
    auto& inputs = side->step_inputs_.emplace_back();
    auto& outputs = side->step_outputs_.emplace_back();
    auto& packed = side->step_packed_.emplace_back();
    for (int s : step.inputs) inputs.push_back(at(s));
    for (int s : step.outputs) outputs.push_back(at(s));
    for (int s : step.packed) packed.push_back(at(s));
  }
  return side;
}

void DeviceSide::refresh_aliases() {
  for (size_t s = 0; s < slots_.size(); ++s) {
    const Slot& slot = program_->slots[s];
    if (slot.kind != Slot::Kind::alias) continue;
    const Tensor& owner = slots_[static_cast<size_t>(slot.alias_of)];  // made before: wholes come before parts
    if (owner.defined()) slots_[s] = owner.part(*slot.type.shape.concrete(), slot.offset);
  }
}

bool DeviceSide::bind(int slot, const Tensor& value) {
  const auto s = static_cast<size_t>(slot);
  const Tensor& now = value.defined() ? value : own_[s];
  const bool changed = slots_[s].raw() != now.raw();
  slots_[s] = now;
  bound_[s] = value.defined();
  if (changed) refresh_aliases();
  return changed;
}

size_t DeviceSide::root(int slot) const {
  auto s = static_cast<size_t>(slot);
  while (program_->slots[s].kind == Slot::Kind::alias) s = static_cast<size_t>(program_->slots[s].alias_of);
  return s;
}

Status DeviceSide::start() {
  for (size_t s = 0; s < newest_.size(); ++s) {
    const Slot::Kind kind = program_->slots[s].kind;
    newest_[s] = kind == Slot::Kind::constant ? kHost | kDevice
                 : kind != Slot::Kind::input  ? kNobody
                 : bound_[s]                  ? kDevice
                                              : kHost;
  }
  return cuda::make_current(weights_->ordinal());
}

Status DeviceSide::fetch(int slot, bool to_gpu, std::span<Tensor> host) {
  if (slot < 0) return {};
  const size_t s = root(slot);
  const uint8_t side = to_gpu ? kDevice : kHost;
  if ((newest_[s] & side) != 0 || newest_[s] == kNobody) return {};
  Tensor &device = slots_[s], &here = host[s];
  if (!here.defined()) return {};
  if (to_gpu && here.bytes() != device.bytes())
    return internal("'{}' has {}, not {}", program_->slots[s].name, counted(here.bytes(), "byte"), device.bytes());
  HONE_CHECK(to_gpu ? stream_->copy_to_device(device.mutable_raw(), here.raw(), here.bytes())
                    : stream_->copy_to_host(here.mutable_raw(), device.raw(), here.bytes()));
  newest_[s] |= side;
  return {};
}

const Tensor* DeviceSide::value(int slot) const {
  return (newest_[root(slot)] & kDevice) != 0 ? &slots_[static_cast<size_t>(slot)] : nullptr;
}

Status DeviceSide::copy_out(int slot, const Tensor& memory, cuda::Stream& stream) {
  const Tensor& value = slots_[static_cast<size_t>(slot)];
  if (value.raw() == memory.raw()) return {};
  return stream.copy_on_device(const_cast<void*>(memory.raw()), value.raw(), value.bytes());
}

int DeviceSide::take_fault() {
  int found = -1;
  for (size_t step = 0; step < program_->steps.size(); ++step)
    if (std::atomic_ref(faults()[step]).exchange(0) != 0 && found < 0) found = static_cast<int>(step);
  return found;
}

void DeviceSide::wrote(int slot, bool on_gpu) {
  if (slot >= 0) newest_[root(slot)] = on_gpu ? kDevice : kHost;
}

}  // namespace hone
