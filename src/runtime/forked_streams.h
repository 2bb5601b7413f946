#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cuda/device.h"
#include "engine/program.h"

namespace hone {

// The streams that a program's steps run in: the first is the one that a run is launched on, the others are this
// object's. They fork from the first and join it again, so that a run is one piece of the first stream's work, whether
// it runs or is captured. Not thread safe; the device must be current.
class ForkedStreams {
 public:
  static Result<std::unique_ptr<ForkedStreams>> create(const Program& program);

  // Calls `launch` for each step in order with the stream that it belongs on. What was launched has joined `first` even
  // where a launch fails, whose error is returned.
  Status run(cuda::Stream& first, const std::function<Status(size_t step, cuda::Stream& stream)>& launch);

 private:
  Status fork(cuda::Stream& first);
  Status launch_steps(cuda::Stream& first, const std::function<Status(size_t step, cuda::Stream& stream)>& launch);
  Status join(cuda::Stream& first);

  const Program* program_ = nullptr;
  std::vector<std::unique_ptr<cuda::Stream>> others_;
  std::unique_ptr<cuda::Event> begun_;
  std::vector<std::unique_ptr<cuda::Event>> ended_;       // of others_
  std::vector<std::unique_ptr<cuda::Event>> step_ended_;  // of steps that others wait for
};

}  // namespace hone
