#pragma once

#include <memory>
#include <vector>

#include "cuda/device.h"
#include "engine/engine_file.h"

namespace hone {

// An engine's constants in the memory of a GPU; shared by its contexts.
class DeviceWeights {
 public:
  // The error says why the engine cannot run on this machine.
  static Result<std::shared_ptr<const DeviceWeights>> upload(const EngineData& data);

  int ordinal() const { return ordinal_; }
  const Tensor& constant(size_t slot) const { return constants_[slot]; }

 private:
  int ordinal_ = 0;
  Tensors constants_;  // one a slot
};

// The GPU's side of a context: its copies of the slots, and which side holds the newest value of each. Values cross
// over when a step on the other side reads them. Not thread safe.
class DeviceSide {
 public:
  static Result<std::unique_ptr<DeviceSide>> create(const Program& program,
                                                    std::shared_ptr<const DeviceWeights> weights,
                                                    const std::vector<bool>& on_gpu);

  // Puts an input's or output's value into memory of the caller on this GPU, or back into that of this object when
  // `value` is undefined. True when its address changed.
  bool bind(int slot, const Tensor& value);
  // Before a run: the host holds the inputs that are not bound to memory on the GPU, nobody the rest.
  Status start();
  // Whether the slot has a place there: an input that no step there reads has none.
  bool has(int slot) const { return slots_[root(slot)].defined(); }
  // Makes a slot's newest value readable on one side. `host`: the host's tensors, one a slot.
  Status fetch(int slot, bool to_gpu, std::span<Tensor> host);
  // The value on the GPU, where that has the newest; null where only the host does.
  const Tensor* value(int slot) const;
  // Copies a slot to memory of the caller on this GPU, unless it was written there.
  Status copy_out(int slot, const Tensor& memory, cuda::Stream& stream);
  // A step of one side has written the slot.
  void wrote(int slot, bool on_gpu);
  // Waits for all launches and copies.
  Status finish() { return stream_->synchronize(); }

  std::span<const Tensor* const> inputs(size_t step) const { return step_inputs_[step]; }
  std::span<Tensor* const> outputs(size_t step) const { return step_outputs_[step]; }
  std::span<const Tensor* const> packed(size_t step) const { return step_packed_[step]; }
  std::byte* arena() { return memory_.front().get(); }
  int32_t* fault(size_t step) { return faults() + step; }
  cuda::Stream& stream() { return *stream_; }

  // The first step whose kernel has set its fault since the last call, or -1: of all runs that have ended, and perhaps
  // of one that has not.
  int take_fault();

 private:
  enum : uint8_t { kNobody = 0, kHost = 1, kDevice = 2 };

  size_t root(int slot) const;
  int32_t* faults() { return reinterpret_cast<int32_t*>(faults_.get()); }
  void refresh_aliases();

  const Program* program_ = nullptr;
  std::shared_ptr<const DeviceWeights> weights_;
  std::unique_ptr<cuda::Stream> stream_;
  std::vector<std::shared_ptr<std::byte>> memory_;
  Tensors slots_, own_;          // own_: what bound slots have when they are not bound
  std::vector<bool> bound_;      // slots
  std::vector<uint8_t> newest_;  // of roots: the sides that hold it
  std::vector<std::vector<const Tensor*>> step_inputs_, step_packed_;
  std::vector<std::vector<Tensor*>> step_outputs_;
  Tensor absent_;
  std::shared_ptr<std::byte> faults_;  // one i32 a step, on the host, so that they are read without waiting
};

}  // namespace hone
