#include "tactics/cuda/kernel.h"

#include <mutex>

#include "cuda/nvrtc.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

// The device code is loaded with the first run: an engine can be built where there is no GPU.
class CompiledKernel final : public Kernel {
 public:
  CompiledKernel(Launch launch, Tensor cubin) : launch_(launch), cubin_(std::move(cubin)) {}

  Status run(const KernelArgs& args) const override {
    HONE_TRY(CUfunc* function, loaded());
    std::vector<const void*> pointers;
    for (const Tensor* t : args.outputs) pointers.push_back(t->raw());
    for (const Tensor* t : args.inputs)
      if (t->defined()) pointers.push_back(t->raw());
    for (const Tensor* t : args.packed.subspan(1)) pointers.push_back(t->raw());
    std::vector<void*> parameters;
    for (const void*& p : pointers) parameters.push_back(&p);
    return args.stream->launch(function, launch_.grid, launch_.block, launch_.shared_bytes, parameters);
  }

 private:
  Result<CUfunc*> loaded() const {
    const std::lock_guard lock(mutex_);
    if (function_ == nullptr) {
      HONE_TRY(module_, Module::load(cubin_));
      HONE_TRY(function_, module_->function("kernel", launch_.shared_bytes));
    }
    return function_;
  }

  Launch launch_;
  Tensor cubin_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Module> module_;
  mutable CUfunc* function_ = nullptr;
};

}  // namespace

Launch elementwise(int64_t count) {
  return {{static_cast<unsigned>((count + kElementwiseThreads - 1) / kElementwiseThreads)}, {kElementwiseThreads}};
}

Result<Prepared> prepare(const Source& source, const Machine& machine) {
  HONE_TRY(Tensor cubin, compile(kPrelude + source.text, machine.cuda_arch));
  Prepared prepared{.packed = {std::move(cubin)}, .drops = source.drops};
  prepared.packed.insert(prepared.packed.end(), source.packed.begin(), source.packed.end());
  return prepared;
}

Result<std::unique_ptr<const Kernel>> make(const Launch& launch, std::span<const Tensor> packed) {
  if (packed.empty() || packed[0].type() != DType::u8) return invalid("a GPU kernel without its code");
  return std::unique_ptr<const Kernel>(new CompiledKernel(launch, packed[0]));
}

}  // namespace hone::cuda
