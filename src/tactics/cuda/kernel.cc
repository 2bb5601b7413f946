#include "tactics/cuda/kernel.h"

#include <algorithm>
#include <mutex>

#include "cuda/nvrtc.h"
#include "kernels/cuda/exact_functions.cuh.h"
#include "kernels/cuda/half_functions.cuh.h"
#include "kernels/cuda/prelude.cuh.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

// The device code is loaded with the first run: an engine can be built where there is no GPU.
class CompiledKernel final : public Kernel {
 public:
  CompiledKernel(Launch launch, Tensor cubin, bool overlaps)
      : launch_(std::move(launch)),
        shape_{launch_.grid, launch_.block, launch_.shared_bytes, launch_.cluster, overlaps},
        cubin_(std::move(cubin)) {
    if (launch_.before) launch_.before->overlaps = overlaps;
  }

  std::string_view fault() const override { return launch_.fault; }
  int64_t workspace_bytes() const override { return launch_.workspace_bytes; }

  Status run(const KernelArgs& args) const override {
    HONE_TRY(const Loaded loaded, this->loaded());
    std::vector<const void*> pointers;
    for (const Tensor* t : args.outputs) pointers.push_back(t->raw());
    for (const Tensor* t : args.inputs)
      if (t->defined()) pointers.push_back(t->raw());
    for (const Tensor* t : args.packed.subspan(1)) pointers.push_back(t->raw());
    if (launch_.workspace_bytes > 0) pointers.push_back(args.workspace);
    if (!launch_.fault.empty()) pointers.push_back(args.fault);
    std::vector<TensorMap> maps;
    for (const MappedTensor& m : launch_.maps) {
      if (m.pointer >= pointers.size()) return internal("a kernel without its tensor {}", m.pointer);
      HONE_TRY(const TensorMap map, encode(m.spec, pointers[m.pointer]));
      maps.push_back(map);
    }
    std::vector<int> extents = launch_.extents;
    std::vector<void*> plain, parameters;
    for (const void*& p : pointers) plain.push_back(&p);
    for (int& e : extents) plain.push_back(&e);
    if (launch_.before) HONE_CHECK(args.stream->launch(loaded.before, *launch_.before, plain));
    for (TensorMap& map : maps) parameters.push_back(&map);
    parameters.insert(parameters.end(), plain.begin(), plain.end());
    return args.stream->launch(loaded.function, loaded.shape, parameters);
  }

 private:
  struct Loaded {
    CUfunc *function = nullptr, *before = nullptr;
    Stream::Shape shape;
  };

  Result<Loaded> loaded() const {
    const std::lock_guard lock(mutex_);
    if (function_ == nullptr) {
      HONE_TRY(module_, Module::load(cubin_));
      HONE_TRY(CUfunc* const function, module_->function("kernel", launch_.shared_bytes));
      if (launch_.persistent) {
        HONE_TRY(const unsigned blocks, Module::blocks_at_once(function, shape_));
        shape_.grid.x = std::min(launch_.grid.x, blocks);
      }
      if (launch_.before) {
        HONE_TRY(before_, module_->function("before", launch_.before->shared_bytes));
      }
      function_ = function;
    }
    return Loaded{function_, before_, shape_};
  }

  Launch launch_;
  mutable Stream::Shape shape_;
  Tensor cubin_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Module> module_;
  mutable CUfunc *function_ = nullptr, *before_ = nullptr;
};

}  // namespace

bool has_clusters(std::string_view arch) { return arch.size() > 5 || arch >= "sm_90"; }

Launch elementwise(int64_t count) {
  return {{static_cast<unsigned>((count + kElementwiseThreads - 1) / kElementwiseThreads)}, {kElementwiseThreads}};
}

bool has_short_results(const Problem& problem) {
  const DType type = problem.outputs[0].dtype;
  if (type != DType::i8) return type == DType::f16 || type == DType::bf16 || type == DType::f8e4m3fn;
  const auto* fused = problem.op.as<Fused>();
  const Op last = fused != nullptr ? fused->body->node(fused->body->order().back()).op : problem.op;
  const auto* pointwise = last.as<Pointwise>();
  return pointwise != nullptr && ends_in_quantising(pointwise->program);
}

Result<Prepared> prepare(const Source& source, bool short_results, const Machine& machine) {
  HONE_TRY(Tensor cubin,
           compile(kernels::prelude_cuh + (short_results ? kernels::half_functions_cuh : kernels::exact_functions_cuh) +
                       source.text,
                   machine.cuda_arch + (source.arch_specific ? "a" : ""), machine.store));
  Prepared prepared{.packed = {std::move(cubin)}, .drops = source.drops};
  prepared.packed.insert(prepared.packed.end(), source.packed.begin(), source.packed.end());
  return prepared;
}

Result<std::unique_ptr<const Kernel>> make(const Launch& launch, std::span<const Tensor> packed,
                                           const Machine& machine) {
  if (packed.empty() || packed[0].type() != DType::u8) return invalid("a GPU kernel without its code");
  return std::unique_ptr<const Kernel>(new CompiledKernel(launch, packed[0], has_clusters(machine.cuda_arch)));
}

}  // namespace hone::cuda
