#include "kernels/cpu/transpose/transpose.h"

#include <cstring>

#include "ops/movement.h"
#include "tactics/common.h"

namespace hone {
namespace {

std::string supports(const Problem& problem, const Machine&) {
  if (problem.op.as<Transpose>() == nullptr) return kAnotherOp;
  return problem.is_static() ? "" : "shapes are not fixed";
}

// Only dims of 1 move, so the elements stay where they are.
bool is_view(const Problem& problem) {
  const Dims dims = dims_of(problem.inputs[0]);
  int64_t last = -1;
  for (int64_t p : problem.op.as<Transpose>()->perm) {
    if (dims[static_cast<size_t>(p)] == 1) continue;
    if (p < last) return false;
    last = p;
  }
  return true;
}

int in_place(const Problem& problem) { return is_view(problem) ? 0 : -1; }

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int,
                                           const Machine& machine) {
  Dims dims = dims_of(problem.inputs[0]);
  Dims perm = problem.op.as<Transpose>()->perm;
  auto bytes = static_cast<int64_t>(size_of(problem.inputs[0].dtype));
  if (element_count(dims) == 0) return kernel([](const KernelArgs&) { return Status(); });
  if (is_view(problem)) {
    return kernel([](const KernelArgs& args) {
      const Tensor& x = *args.inputs[0];
      Tensor& y = *args.outputs[0];
      if (y.raw() != x.raw()) std::memcpy(y.mutable_raw(), x.raw(), x.bytes());
      return Status();
    });
  }
  if (bytes == 16) {
    // Both halves of an element, as one more dim that stays.
    perm.push_back(static_cast<int64_t>(dims.size()));
    dims.push_back(2);
    bytes = 8;
  }
  HONE_TRY(auto plan, cpu::TransposePlan::make(dims, perm, bytes, tier_of(machine)));
  return kernel([plan = std::move(plan)](const KernelArgs& args) {
    plan.run(args.inputs[0]->raw(), args.outputs[0]->mutable_raw(), args.pool);
    return Status();
  });
}

}  // namespace

std::span<const Tactic> transpose_tactics() {
  static constexpr Tactic kRows[] = {{"transpose", supports, one_variant, nothing_to_prepare, make, in_place}};
  return kRows;
}

}  // namespace hone
