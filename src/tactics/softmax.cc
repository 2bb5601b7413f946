#include "kernels/cpu/softmax/softmax.h"

#include "ops/elements.h"
#include "ops/norm.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

Result<cpu::SoftmaxProblem> problem_of(const Problem& problem) {
  const auto* op = problem.op.as<Softmax>();
  const Dims dims = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(dims.size());
  HONE_TRY(const int64_t axis, normalize_axis(op->axis, rank));
  return cpu::SoftmaxProblem{span_count(dims, 0, axis), dims[static_cast<size_t>(axis)],
                             span_count(dims, axis + 1, rank), op->log};
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (problem.op.as<Softmax>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (std::string reason = refuse_types_or_machine(problem, machine); !reason.empty()) return reason;
  const auto p = problem_of(problem);
  if (!p.ok()) return p.status().message();
  const char* reason = cpu::softmax_supports(*p);
  return reason != nullptr ? reason : "";
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int,
                                           const Machine& machine) {
  HONE_TRY(const auto p, problem_of(problem));
  const auto of_type = [&](auto zero) {
    using T = decltype(zero);
    return kernel([p, tier = tier_of(machine)](const KernelArgs& args) -> Status {
      cpu::softmax(p, tier, args.inputs[0]->data<T>(), args.outputs[0]->mutable_data<T>(), args.pool);
      return {};
    });
  };
  return in_bf16(problem) ? of_type(bf16()) : of_type(0.f);
}

int in_place(const Problem&) { return 0; }

}  // namespace

std::span<const Tactic> softmax_tactics() {
  static constexpr Tactic kRows[] = {{"softmax", supports, one_variant, nothing_to_prepare, make, in_place}};
  return kRows;
}

}  // namespace hone
