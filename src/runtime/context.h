#pragma once

#include <functional>
#include <map>
#include <memory>

#include "engine/engine_file.h"
#include "runtime/device_side.h"
#include "runtime/forked_streams.h"
#include "tactics/tactic.h"

namespace hone {

// An engine made ready to run: kernels are instantiated once and shared. Immutable; any number of contexts at once.
class LoadedEngine {
 public:
  static Result<std::shared_ptr<const LoadedEngine>> make(EngineData data);

  const Program& program() const { return data_.program; }
  const EngineData& data() const { return data_; }
  // Of a step without bodies.
  const Kernel& kernel(size_t step) const { return *kernels_[step]; }
  // Of a control step.
  const Op& control(size_t step) const { return control_.at(step); }
  // Whether a step runs on the GPU.
  const std::vector<bool>& on_gpu() const { return on_gpu_; }
  // Whether all steps do; false where there is none.
  bool all_on_gpu() const;
  // Whether a kernel on the GPU may find its input at fault.
  bool reports_faults() const { return reports_faults_; }
  // Null when all runs on the CPU.
  const std::shared_ptr<const DeviceWeights>& device_weights() const { return device_weights_; }

 private:
  EngineData data_;
  std::vector<std::unique_ptr<const Kernel>> kernels_;  // null for control steps
  std::map<size_t, Op> control_;
  std::vector<bool> on_gpu_;
  bool reports_faults_ = false;
  std::shared_ptr<const DeviceWeights> device_weights_;
};

// The state of one caller: arena and bindings. One per thread; not thread safe itself.
class ExecutionContext {
 public:
  explicit ExecutionContext(std::shared_ptr<const LoadedEngine> engine);
  // Waits for what was enqueued.
  ~ExecutionContext();
  ExecutionContext(const ExecutionContext&) = delete;
  ExecutionContext& operator=(const ExecutionContext&) = delete;

  // Reads `value` in place on the next run. The dtype and shape must be those of the binding. It may lie on the GPU of
  // an engine whose steps all run there.
  Status bind_input(std::string_view name, Tensor value);
  // Whether memory of the caller lies on the GPU of an engine that has one.
  bool lies_on_device(const void* memory) const { return engine_->device_weights() && cuda::on_device(memory); }
  // Leaves an output in `memory` on the engine's GPU, and does not copy it to the host. An undefined tensor ends that.
  Status bind_device_output(std::string_view name, const Tensor& memory);
  // Leaves these outputs, a flag for each (empty: none), where a GPU computes them, and does not copy them to the host.
  void leave_outputs(std::vector<bool> which) { left_ = std::move(which); }
  // An output that the last run left on the GPU, until the next; null where it lies on the host.
  const Tensor* left_output(size_t index) const;
  // Valid until the next run; it lies in the context's memory.
  Result<Tensor> output(std::string_view name) const;
  Tensor output(size_t index) const { return slots_[static_cast<size_t>(engine_->program().outputs[index].slot)]; }
  Tensors outputs() const;

  Status run();
  // Launches a run on a stream of the caller (null: CUDA's default one) and does not wait for it; it begins when those
  // enqueued before have ended, on other streams too. While the stream is captured the launches go into the caller's
  // graph, whose own launches are the caller's to order. What kernels find at fault is returned by the next call that
  // knows of it, which does nothing else. Errors: unsupported (a step, an input or an output is on the host), invalid
  // (an input is not bound, a captured stream before the first run).
  Status enqueue(cuda::CUstr* stream);
  // Waits for the runs that were enqueued, and returns what they found at fault.
  Status synchronize();

  // Whether the GPU takes the time of the recorded steps in each run but the first, copies not counted; device_us is
  // that of the last run.
  bool times_device = false;
  double device_us() const { return device_us_; }

  // Called after each kernel with its step's index and time in microseconds, slowing the run by two clock reads each
  // and, on a GPU, by waiting for it. Control steps are not reported, only the steps that they run.
  std::function<void(size_t step, double us)> profiler;

  // Called after each step, control steps and the steps of their bodies included, with its index; an error ends the
  // run. What the step wrote is there until it returns: on the host, where the next two give it, or on the GPU, for
  // left_output() and what is launched on gpu_stream(). Runs are not recorded then.
  std::function<Status(size_t step)> observer;
  // For an observer: what its step wrote, or an output that is whole, in memory of the host, copied there if need be.
  Result<std::span<const Tensor* const>> fetch_step(size_t step);
  Result<Tensor> fetch_output(size_t index);
  // Of a run's launches; null before the first, and without a GPU.
  cuda::Stream* gpu_stream() { return device_ ? &device_->stream() : nullptr; }

  const LoadedEngine& engine() const { return *engine_; }

 private:
  Status fetch(std::span<const int> slots);
  Status check_bound() const;
  Status check_all_on_gpu() const;
  Status run_steps(size_t begin, size_t end);
  Status run_side_by_side(size_t begin, size_t end);
  Status run_with_gpu();
  Status run_on_both_sides();
  Status begin_on_gpu();
  Status bind_on_device();
  Status record_graph();
  Status launch_steps(cuda::Stream& stream);
  Status launch_run(cuda::Stream& stream, bool as_graph);
  Status take_fault();
  Status run_step(size_t step);
  Status run_step_on_gpu(size_t step, cuda::Stream& stream);
  Tensor* slot(int index) { return index < 0 ? &absent_ : &slots_[static_cast<size_t>(index)]; }
  void refresh_aliases();

  std::shared_ptr<const LoadedEngine> engine_;
  std::shared_ptr<std::byte> arena_;
  cpu::ThreadPool pool_;
  std::vector<Tensor> slots_;
  std::vector<std::vector<const Tensor*>> step_inputs_;
  std::vector<std::vector<Tensor*>> step_outputs_;
  std::vector<bool> bound_;
  Tensor absent_;
  std::unique_ptr<DeviceSide> device_;                     // made by the first run
  std::unique_ptr<ForkedStreams> streams_;                 // made with it
  std::unique_ptr<cuda::Graph> graph_;                     // of all steps, when all are on the GPU
  std::unique_ptr<cuda::Event> begun_, ended_, enqueued_;  // enqueued_: the end of what was enqueued last
  bool waits_ = false;                                     // for enqueued_ is still to be done
  Tensors device_inputs_, device_outputs_;                 // one a binding, undefined where it is on the host
  std::vector<bool> left_;                                 // outputs; empty: none
  double device_us_ = 0;
  int64_t runs_ = 0;
};

}  // namespace hone
