#pragma once

#include <algorithm>
#include <functional>
#include <memory>

#include "base/cpu_info.h"
#include "ops/matmul_nbits.h"
#include "tactics/tactic.h"

namespace hone {

// How much an algorithm may add to a layer's error, relative to its largest output.
inline constexpr double kErrorBound = 1e-4;

// Why an algorithm that does not sum the products as they are may not be taken, or empty.
inline std::string refuse_error(double bound, double most, const Machine& machine) {
  if (!machine.winograd) return "Winograd's and Strassen's algorithms are forbidden";
  return bound > most ? fmt::format("its error bound {:.1e} is over {:.1e}", bound, most) : "";
}

// The reason that selection passes over in silence: the row is for another op.
inline constexpr const char* kAnotherOp = "another op";

inline constexpr const char* kNeedsAvx512 = "it pays with AVX-512 alone";

inline cpu::Tier tier_of(const Machine& machine) {
  return std::min(cpu::best_tier(), static_cast<cpu::Tier>(machine.max_tier));
}

// A kernel that is a function with a fixed workspace.
class FunctionKernel final : public Kernel {
 public:
  using Run = std::function<Status(const KernelArgs&)>;
  explicit FunctionKernel(Run run, int64_t workspace = 0) : run_(std::move(run)), workspace_(workspace) {}
  int64_t workspace_bytes() const override { return workspace_; }
  Status run(const KernelArgs& args) const override { return run_(args); }

 private:
  Run run_;
  int64_t workspace_;
};

inline Result<std::unique_ptr<const Kernel>> kernel(FunctionKernel::Run run, int64_t workspace = 0) {
  return std::unique_ptr<const Kernel>(new FunctionKernel(std::move(run), workspace));
}

inline int one_variant(const Problem&, const Machine&) { return 1; }
inline Result<Prepared> nothing_to_prepare(const Problem&, int, const Machine&) { return Prepared{}; }

// Values of Tactic::drops.
inline bool drops_all_but_first(size_t input, std::span<const Tensor>) { return input > 0; }
inline bool drops_second(size_t input, std::span<const Tensor>) { return input == 1; }

inline bool has(const Problem& problem, size_t i) { return i < problem.inputs.size() && problem.inputs[i].defined(); }

inline size_t count_present(const Types& types) {
  return static_cast<size_t>(
      std::count_if(types.begin(), types.end(), [](const TensorType& t) { return t.defined(); }));
}

// Why a kernel for fixed shapes and f32 input cannot do the problem, or empty.
inline std::string refuse_unless_fixed_f32(const Problem& problem) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[0].dtype != DType::f32) return fmt::format("{} elements", name(problem.inputs[0].dtype));
  return {};
}

// The input of a product that is its bias, where it has one.
inline size_t bias_input(std::string_view op) { return op == MatMulNBits::kName ? 4 : 2; }

inline Dims dims_of(const TensorType& type) { return *type.shape.concrete(); }

}  // namespace hone
