#pragma once

#include <memory>
#include <vector>

#include "cuda/device.h"
#include "tactics/tactic.h"

namespace hone {

// random_tensor() of that type in the memory of the GPU that is current.
Result<Tensor> random_on_gpu(const TensorType& type, cuda::Stream& stream);

// A problem laid out on a GPU: its inputs and constants, and outputs.
class GpuSandbox {
 public:
  // An input that is not given is random: zeros would run faster than data does.
  static Result<std::unique_ptr<GpuSandbox>> create(const Problem& problem, int ordinal,
                                                    std::span<const Tensor> inputs);

  // The outputs of one launch, in host memory.
  Result<Tensors> run(const Kernel& kernel, const Prepared& prepared, cpu::ThreadPool& pool);
  // The first output of one launch, in up to 64 places of 256 elements that are spread over it; all of it held
  // something else before.
  Result<Tensor> sample(const Kernel& kernel, const Prepared& prepared, cpu::ThreadPool& pool);
  // Median time of a launch in microseconds, from replays of a graph of many. One that is clearly slower than `best_us`
  // is not timed to the end.
  Result<double> time_us(const Kernel& kernel, const Prepared& prepared, cpu::ThreadPool& pool, double best_us = 1e18);

 private:
  // A kernel's arguments in device memory, and what keeps them alive.
  struct Arguments {
    Tensor absent;
    Tensors copies;
    std::vector<const Tensor*> inputs, packed;
    std::vector<Tensor*> outputs;
  };
  Result<std::unique_ptr<Arguments>> arguments(const Kernel& kernel, const Prepared& prepared);
  KernelArgs call(const Arguments& arguments, cpu::ThreadPool& pool);
  Result<Tensor> upload(const Tensor& value);
  Result<Tensor> upload_packed(size_t place, const Tensor& value);

  std::unique_ptr<cuda::Stream> stream_;
  Tensors inputs_, outputs_;
  Tensor fault_, workspace_;
  // What a kernel had packed, and its copy: a problem's variants pack the same weights.
  std::vector<std::pair<Tensor, Tensor>> packed_;
  std::shared_ptr<std::byte> staging_;  // of samples, in memory of the host that copies do not have to go through
};

}  // namespace hone
