// Elementwise work on 8 bits, whatever it is, is a table of 256 results.
#include "kernels/cpu/pointwise/look_up.h"
#include "kernels/cpu/pointwise/pointwise.h"
#include "ops/pointwise.h"
#include "tactics/common.h"

namespace hone {
namespace {

constexpr int64_t kEntries = 256;
constexpr int64_t kFewest = 1024;  // elements that are worth a table

bool is_byte(DType type) { return type == DType::i8 || type == DType::u8; }

// By scalar code: a table is made once, and is the same on every machine.
Result<cpu::PointwisePlan> plan_of_entries(const Problem& problem) {
  const Dims dims{kEntries};
  const std::vector<cpu::PointwiseOperand> operands{{problem.inputs[0].dtype, dims}};
  return cpu::PointwisePlan::make(problem.op.as<Pointwise>()->program, operands, {problem.outputs[0].dtype, dims},
                                  cpu::Tier::scalar);
}

std::string supports(const Problem& problem, const Machine&) {
  const auto* op = problem.op.as<Pointwise>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs.size() != 1 || !is_byte(problem.inputs[0].dtype)) return "not of one input of 8 bits";
  if (problem.inputs[0].shape != problem.outputs[0].shape) return "the input is broadcast";
  if (!is_byte(problem.outputs[0].dtype) && problem.outputs[0].dtype != DType::f32) return "the result is another type";
  if (element_count(dims_of(problem.inputs[0])) < kFewest) return "a small tensor";
  if (const char* reason = cpu::pointwise_supports(op->program)) return reason;
  const auto plan = plan_of_entries(problem);
  return plan.ok() ? std::string() : plan.status().message();
}

Result<Prepared> prepare(const Problem& problem, int, const Machine&) {
  HONE_TRY(const auto plan, plan_of_entries(problem));
  Tensor values(problem.inputs[0].dtype, {kEntries}), table(problem.outputs[0].dtype, {kEntries});
  for (int64_t i = 0; i < kEntries; ++i) values.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i);
  cpu::ThreadPool pool(1);
  Tensor workspace(DType::u8, {static_cast<int64_t>(plan.workspace_bytes(1))});
  const void* inputs[] = {values.raw()};
  plan.run(inputs, table.mutable_raw(), workspace.mutable_raw(), pool);
  return Prepared{{table}};
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int,
                                           const Machine&) {
  if (packed.size() != 1 || packed[0].type() != problem.outputs[0].dtype || packed[0].count() != kEntries)
    return invalid("the table is missing or has another size");
  return kernel([table = packed[0]](const KernelArgs& args) -> Status {
    cpu::look_up(static_cast<const uint8_t*>(args.inputs[0]->raw()), args.inputs[0]->count(), table.raw(),
                 size_of(table.type()), args.outputs[0]->mutable_raw(), args.pool);
    return {};
  });
}

int in_place(const Problem& problem) { return problem.inputs[0] == problem.outputs[0] ? 0 : -1; }

}  // namespace

std::span<const Tactic> pointwise_table_tactics() {
  static constexpr Tactic kRows[] = {{"cpu.pointwise_table", supports, one_variant, prepare, make, in_place}};
  return kRows;
}

}  // namespace hone
