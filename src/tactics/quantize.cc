#include "ops/quantize.h"

#include "kernels/cpu/quantize/dynamic.h"
#include "tactics/common.h"

namespace hone {
namespace {

std::string supports(const Problem& problem, const Machine&) {
  if (problem.op.as<DynamicQuantize>() == nullptr) return kAnotherOp;
  return refuse_unless_fixed_f32(problem);
}

Result<std::unique_ptr<const Kernel>> make(const Problem&, std::span<const Tensor>, int, const Machine& machine) {
  return kernel(
      [tier = tier_of(machine)](const KernelArgs& args) -> Status {
        const Tensor& x = *args.inputs[0];
        const cpu::DynamicScale by = cpu::dynamic_quantize(
            x.data<float>(), x.count(), tier, args.outputs[0]->mutable_data<uint8_t>(), args.workspace, args.pool);
        args.outputs[1]->mutable_data<float>()[0] = by.scale;
        args.outputs[2]->mutable_data<uint8_t>()[0] = by.zero;
        return {};
      },
      cpu::dynamic_quantize_workspace_bytes(machine.threads));
}

}  // namespace

std::span<const Tactic> quantize_tactics() {
  static constexpr Tactic kRows[] = {{"cpu.dynamic_quantize", supports, one_variant, nothing_to_prepare, make}};
  return kRows;
}

}  // namespace hone
