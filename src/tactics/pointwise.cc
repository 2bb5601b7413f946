#include "kernels/cpu/pointwise/pointwise.h"

#include <algorithm>
#include <array>

#include "base/counted.h"
#include "ops/pointwise.h"
#include "tactics/common.h"

namespace hone {
namespace {

constexpr size_t kMostInputs = 24;

Result<cpu::PointwisePlan> plan_of(const Problem& problem, const Machine& machine) {
  const auto& program = problem.op.as<Pointwise>()->program;
  std::vector<Dims> dims;
  for (const TensorType& type : problem.inputs) dims.push_back(dims_of(type));
  std::vector<cpu::PointwiseOperand> operands;
  for (size_t i = 0; i < dims.size(); ++i) operands.push_back({problem.inputs[i].dtype, dims[i]});
  const Dims out = dims_of(problem.outputs[0]);
  return cpu::PointwisePlan::make(program, operands, {problem.outputs[0].dtype, out}, tier_of(machine));
}

// Rounded to fp32, such a power may fall below the integer that it is.
bool has_rounded_power(const PointwiseProgram& program) {
  return std::any_of(program.code.begin(), program.code.end(), [&](const PointwiseInstr& instr) {
    return instr.fn == Fn::pow && !is_float(instr.type) &&
           is_float(program.code[static_cast<size_t>(instr.operand[1])].type);
  });
}

std::string supports(const Problem& problem, const Machine& machine) {
  const auto* op = problem.op.as<Pointwise>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs.size() > kMostInputs)
    return fmt::format("{}, at most {}", counted(problem.inputs.size(), "input"), kMostInputs);
  if (const char* reason = cpu::pointwise_supports(op->program)) return reason;
  if (has_rounded_power(op->program)) return "an integer to a real power";
  const auto plan = plan_of(problem, machine);
  return plan.ok() ? std::string() : plan.status().message();
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int,
                                           const Machine& machine) {
  HONE_TRY(auto plan, plan_of(problem, machine));
  const auto workspace = static_cast<int64_t>(plan.workspace_bytes(machine.threads));
  return kernel(
      [plan = std::move(plan)](const KernelArgs& args) -> Status {
        std::array<const void*, kMostInputs> inputs;
        for (size_t i = 0; i < args.inputs.size(); ++i) inputs[i] = args.inputs[i]->raw();
        plan.run(inputs.data(), args.outputs[0]->mutable_raw(), args.workspace, args.pool);
        return {};
      },
      workspace);
}

// The first input of the output's type and dims: the others broadcast.
int in_place(const Problem& problem) {
  for (size_t i = 0; i < problem.inputs.size(); ++i)
    if (!problem.is_constant(i) && problem.inputs[i] == problem.outputs[0]) return static_cast<int>(i);
  return -1;
}

}  // namespace

std::span<const Tactic> pointwise_tactics() {
  static constexpr Tactic kRows[] = {{"pointwise", supports, one_variant, nothing_to_prepare, make, in_place}};
  return kRows;
}

}  // namespace hone
