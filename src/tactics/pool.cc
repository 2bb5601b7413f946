#include "kernels/cpu/reduce/reduce.h"
#include "tactics/in_bf16.h"
#include "tactics/pool_problem.h"

namespace hone {
namespace {

std::string supports(const Problem& problem, const Machine& machine) {
  const auto* op = problem.op.as<Pool>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const DType type = problem.inputs[0].dtype;
  if (problem.outputs.size() > 1 && problem.outputs[1].defined()) return "indices of maxima";
  if (!(type == DType::i8 && op->kind == "max"))
    if (std::string reason = refuse_types_or_machine(problem, machine); !reason.empty()) return reason;
  if (op->kind == "lp" && op->p != 1 && op->p != 2) return "a norm other than L1 and L2";
  if (op->kernel.size() > 3) return "more than three spatial dims";
  const char* reason = cpu::pool_supports(pool_problem(*op, dims_of(problem.inputs[0]), dims_of(problem.outputs[0])));
  return reason == nullptr ? "" : reason;
}

// One window that is the whole image.
bool is_global(const cpu::PoolProblem& p) {
  for (int d = 0; d < 3; ++d) {
    if (p.out[d] != 1 || p.kernel[d] != p.in[d] || p.dilation[d] != 1 || p.pads_begin[d] != 0) return false;
  }
  return true;
}

cpu::ReduceKind reduction(cpu::PoolKind kind) {
  switch (kind) {
    case cpu::PoolKind::max: return cpu::ReduceKind::max;
    case cpu::PoolKind::average: return cpu::ReduceKind::mean;
    case cpu::PoolKind::l1: return cpu::ReduceKind::l1;
    case cpu::PoolKind::l2: break;
  }
  return cpu::ReduceKind::l2;
}

// Of f32 or bf16.
template <class T>
Result<std::unique_ptr<const Kernel>> make_of(const Problem& problem, const cpu::PoolProblem& p, cpu::Tier tier) {
  if (!problem.op.as<Pool>()->channels_last && is_global(p)) {
    const Dims image{p.batch, p.in[0] * p.in[1] * p.in[2]}, axes{1};
    HONE_TRY(auto plan, cpu::ReducePlan::make(reduction(p.kind), image, axes, tier));
    return kernel([plan = std::move(plan)](const KernelArgs& args) {
      plan.run(args.inputs[0]->data<T>(), args.outputs[0]->mutable_data<T>(), args.pool);
      return Status();
    });
  }
  return kernel([p, tier](const KernelArgs& args) {
    cpu::pool(p, tier, args.inputs[0]->data<T>(), args.outputs[0]->mutable_data<T>(), args.pool);
    return Status();
  });
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int,
                                           const Machine& machine) {
  const auto* op = problem.op.as<Pool>();
  const auto tier = tier_of(machine);
  const auto p = pool_problem(*op, dims_of(problem.inputs[0]), dims_of(problem.outputs[0]));
  if (element_count(dims_of(problem.outputs[0])) == 0) return kernel([](const KernelArgs&) { return Status(); });
  if (problem.inputs[0].dtype == DType::i8) {
    return kernel([p, tier](const KernelArgs& args) {
      cpu::max_pool(p, tier, args.inputs[0]->data<int8_t>(), args.outputs[0]->mutable_data<int8_t>(), args.pool);
      return Status();
    });
  }
  return in_bf16(problem) ? make_of<bf16>(problem, p, tier) : make_of<float>(problem, p, tier);
}

}  // namespace

std::span<const Tactic> pool_tactics() {
  static constexpr Tactic kRows[] = {{"pool", supports, one_variant, nothing_to_prepare, make}};
  return kRows;
}

}  // namespace hone
