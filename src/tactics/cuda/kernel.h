#pragma once

#include <concepts>

#include "cuda/device.h"
#include "cuda/tensor_map.h"
#include "tactics/common.h"

// A tactic whose CUDA C++ is written for one problem, compiled when the engine is built, and carried in it.
namespace hone::cuda {

// A tensor that a kernel reads through a descriptor; `pointer` counts the kernel's pointers (outputs, inputs, packed).
struct MappedTensor {
  size_t pointer = 0;
  TensorMapSpec spec;
};

// Depends on the problem's shapes alone, so that it is known again when an engine is loaded.
struct Launch {
  Stream::Dim3 grid, block;
  unsigned shared_bytes = 0;
  unsigned cluster = 1;     // neighbouring blocks along x
  bool persistent = false;  // a block takes several tiles: grid.x is the number of tiles, and no more start than fit
  std::vector<MappedTensor> maps = {};
  int64_t workspace_bytes = 0;  // when not 0, `T* workspace` comes after `packed`
  // A launch ahead of it: of the kernel `before` of the same source, with the same parameters but for the maps.
  std::optional<Stream::Shape> before = {};
  std::string_view fault = {};  // see Kernel::fault; the kernel's last pointer is `int* fault` then
  // Of type int, behind the pointers: what follows from the batch, so that the code of one is that of others too.
  std::vector<int> extents = {};
};

// The kernel is `extern "C" __global__ void kernel(...)`; its parameters are the maps of the launch, the outputs, the
// inputs that are there and not dropped, then `packed`, and what else the launch names.
struct Source {
  std::string text;
  std::vector<bool> drops = {};
  Tensors packed = {};
  bool arch_specific = false;  // uses features of the one architecture ("sm_90a")
};

// Of compute capability 9.0 on: blocks may share their memory, and kernels wait for the launch ahead of them.
bool has_clusters(std::string_view arch);

// Of the largest GPU: it shapes guesses, not results.
inline constexpr int64_t kMultiprocessors = 132;

// One thread an element.
Launch elementwise(int64_t count);
inline constexpr int64_t kElementwiseThreads = 256;

// Whether results are rounded so much, to f16, bf16, e4m3 or a step of i8, that functions need not be exact to the last
// digit of f32.
bool has_short_results(const Problem& problem);
Result<Prepared> prepare(const Source& source, bool short_results, const Machine& machine);
Result<std::unique_ptr<const Kernel>> make(const Launch& launch, std::span<const Tensor> packed,
                                           const Machine& machine);

// Calls f with as many of the arguments as it takes.
template <auto f>
auto apply(const Problem& problem, int variant, const Machine& machine) {
  if constexpr (std::invocable<decltype(f), const Problem&>) return f(problem);
  else if constexpr (std::invocable<decltype(f), const Problem&, const Machine&>) return f(problem, machine);
  else return f(problem, variant);
}

// A row from functions of the problem: `std::string supports(problem[, machine])`, `Result<Source> source(problem[,
// variant])`, `Launch launch(problem[, variant])` and `int variants(problem, machine)`.
template <auto supports, auto source, auto launch, auto variants = one_variant>
constexpr Tactic row(std::string_view name, int tier = 0) {
  return {.name = name,
          .supports = [](const Problem& problem, const Machine& machine) -> std::string {
            return apply<supports>(problem, 0, machine);
          },
          .variants = variants,
          .prepare = [](const Problem& problem, int variant, const Machine& machine) -> Result<Prepared> {
            HONE_TRY(const Source text, apply<source>(problem, variant, machine));
            return cuda::prepare(text, has_short_results(problem), machine);
          },
          .make = [](const Problem& problem, std::span<const Tensor> packed, int variant,
                     const Machine& machine) -> Result<std::unique_ptr<const Kernel>> {
            if (variant < 0 || variant >= variants(problem, machine))
              return invalid("variant {} of {}", variant, variants(problem, machine));
            return cuda::make(apply<launch>(problem, variant, machine), packed, machine);
          },
          .backend = Backend::cuda,
          .tier = tier,
          .workspace_bytes = [](const Problem& problem, int variant, const Machine& machine) -> int64_t {
            return apply<launch>(problem, variant, machine).workspace_bytes;
          }};
}

}  // namespace hone::cuda
