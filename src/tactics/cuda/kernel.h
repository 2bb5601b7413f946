#pragma once

#include "cuda/device.h"
#include "tactics/common.h"

// A tactic of the portable tier: CUDA C++ written for one problem, compiled when the engine is built, and carried in it.
namespace hone::cuda {

// Blocks and threads; depends on the problem's shapes alone, so that it is known again when an engine is loaded.
struct Launch {
  Stream::Dim3 grid, block;
  unsigned shared_bytes = 0;
};

// The kernel is `extern "C" __global__ void kernel(...)`; its parameters are the outputs, then the inputs that are
// there and not dropped, then `packed`.
struct Source {
  std::string text;
  std::vector<bool> drops = {};
  Tensors packed = {};
};

// One thread an element.
Launch elementwise(int64_t count);
inline constexpr int64_t kElementwiseThreads = 256;

Result<Prepared> prepare(const Source& source, const Machine& machine);
Result<std::unique_ptr<const Kernel>> make(const Launch& launch, std::span<const Tensor> packed);

// A row from `std::string supports(const Problem&)`, `Result<Source> source(const Problem&)` and
// `Launch launch(const Problem&)`.
template <auto supports, auto source, auto launch>
constexpr Tactic row(std::string_view name) {
  return {.name = name,
          .supports = [](const Problem& problem, const Machine&) { return supports(problem); },
          .variants = one_variant,
          .prepare = [](const Problem& problem, int, const Machine& machine) -> Result<Prepared> {
            HONE_TRY(const Source text, source(problem));
            return cuda::prepare(text, machine);
          },
          .make = [](const Problem& problem, std::span<const Tensor> packed, int, const Machine&) {
            return cuda::make(launch(problem), packed);
          },
          .backend = Backend::cuda};
}

// The same with variants, each with a source and a launch of its own; only where TF32 is allowed.
template <auto supports, auto source, auto launch, auto variants>
constexpr Tactic tf32_row(std::string_view name) {
  return {.name = name,
          .supports = [](const Problem& problem, const Machine& machine) -> std::string {
            std::string reason = supports(problem);
            return reason.empty() && !machine.tf32 ? "TF32 is not among the precisions allowed" : reason;
          },
          .variants = [](const Problem&, const Machine& machine) { return variants(machine); },
          .prepare = [](const Problem& problem, int variant, const Machine& machine) -> Result<Prepared> {
            HONE_TRY(const Source text, source(problem, variant));
            return cuda::prepare(text, machine);
          },
          .make = [](const Problem& problem, std::span<const Tensor> packed, int variant, const Machine& machine) -> Result<std::unique_ptr<const Kernel>> {
            if (variant < 0 || variant >= variants(machine)) return invalid("variant {} of {}", variant, variants(machine));
            return cuda::make(launch(problem, variant), packed);
          },
          .backend = Backend::cuda};
}

}  // namespace hone::cuda
