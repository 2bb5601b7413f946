#include "kernels/cpu/reduce/reduce.h"

#include <algorithm>

#include "kernels/cpu/reduce/byte_sums.h"
#include "ops/elements.h"
#include "ops/reduce.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

std::optional<cpu::ReduceKind> kind_of(std::string_view kind) {
  using enum cpu::ReduceKind;
  static constexpr std::pair<std::string_view, cpu::ReduceKind> kKinds[] = {
      {"sum", sum},         {"mean", mean},
      {"max", max},         {"min", min},
      {"prod", prod},       {"sum_square", sum_square},
      {"l1", l1},           {"l2", l2},
      {"log_sum", log_sum}, {"log_sum_exp", log_sum_exp}};
  for (const auto& [name, value] : kKinds)
    if (name == kind) return value;
  return std::nullopt;
}

std::string reduce_supports(const Problem& problem, const Machine& machine) {
  const auto* op = problem.op.as<Reduce>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[0].dtype != problem.outputs[0].dtype) return "another type of result";
  if (std::string reason = refuse_type_or_machine(problem.inputs[0].dtype, machine); !reason.empty()) return reason;
  if (!kind_of(op->kind)) return fmt::format("reduction '{}'", op->kind);
  if (has(problem, 1) && !problem.constants.empty() && !problem.is_constant(1)) return "axes are not constant";
  return {};
}

// Packs the axes, counted from the front.
Result<Prepared> reduce_prepare(const Problem& problem, int, const Machine&) {
  const int64_t rank = problem.inputs[0].shape.rank();
  std::vector<int64_t> axes;
  if (has(problem, 1) && problem.constants[1].count() > 0) {
    HONE_TRY(axes, normalize_axes(problem.constants[1].to_ints(), rank));
  } else if (!problem.op.as<Reduce>()->noop_without_axes) {
    for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  }
  return Prepared{{Tensor::vector(axes)}, {false, true}};
}

Result<std::unique_ptr<const Kernel>> reduce_make(const Problem& problem, std::span<const Tensor> packed, int,
                                                  const Machine& machine) {
  if (packed.size() != 1) return invalid("a reduction without its packed axes");
  HONE_TRY(auto plan, cpu::ReducePlan::make(*kind_of(problem.op.as<Reduce>()->kind), dims_of(problem.inputs[0]),
                                            packed[0].to_ints(), tier_of(machine)));
  return kernel([plan = std::move(plan)](const KernelArgs& args) -> Status {
    const Tensor& x = *args.inputs[0];
    Tensor& y = *args.outputs[0];
    if (x.type() == DType::bf16) plan.run(x.data<bf16>(), y.mutable_data<bf16>(), args.pool);
    else plan.run(x.data<float>(), y.mutable_data<float>(), args.pool);
    return {};
  });
}

// Of axes beside each other.
Result<cpu::ByteSumsProblem> byte_sums_problem(const Dims& dims, std::vector<int64_t> axes) {
  if (axes.empty()) return cpu::ByteSumsProblem{.outer = element_count(dims)};
  const auto rank = static_cast<int64_t>(dims.size());
  std::ranges::sort(axes);
  const int64_t first = axes.front(), end = axes.back() + 1;
  if (first < 0 || end > rank || end - first != static_cast<int64_t>(axes.size()))
    return invalid("axes that are not beside each other");
  return cpu::ByteSumsProblem{span_count(dims, 0, first), span_count(dims, first, end), span_count(dims, end, rank)};
}

std::string byte_sums_supports(const Problem& problem, const Machine& machine) {
  const auto* op = problem.op.as<Reduce>();
  if (op == nullptr || op->kind != "sum_i32") return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.constants.empty()) return {};
  if (has(problem, 1) && !problem.is_constant(1)) return "axes are not constant";
  const auto prepared = reduce_prepare(problem, 0, machine);
  if (!prepared.ok()) return prepared.status().message();
  const auto p = byte_sums_problem(dims_of(problem.inputs[0]), prepared->packed[0].to_ints());
  if (!p.ok()) return p.status().message();
  const char* reason = cpu::byte_sums_supports(*p);
  return reason != nullptr ? reason : "";
}

Result<std::unique_ptr<const Kernel>> byte_sums_make(const Problem& problem, std::span<const Tensor> packed, int,
                                                     const Machine& machine) {
  if (packed.size() != 1 || packed[0].type() != DType::i64) return invalid("a reduction without its packed axes");
  HONE_TRY(const auto p, byte_sums_problem(dims_of(problem.inputs[0]), packed[0].to_ints()));
  if (p.outer * p.inner != element_count(dims_of(problem.outputs[0])) || cpu::byte_sums_supports(p) != nullptr)
    return invalid("packed axes that are not those of its result");
  return kernel([p, tier = tier_of(machine)](const KernelArgs& args) -> Status {
    cpu::byte_sums(p, tier, args.inputs[0]->data<int8_t>(), args.outputs[0]->mutable_data<int32_t>(), args.pool);
    return {};
  });
}

Result<cpu::ArgReduceProblem> arg_problem(const Problem& problem) {
  const auto* op = problem.op.as<ArgReduce>();
  const Dims dims = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(dims.size());
  HONE_TRY(const int64_t axis, normalize_axis(op->axis, rank));
  return cpu::ArgReduceProblem{span_count(dims, 0, axis), dims[static_cast<size_t>(axis)],
                               span_count(dims, axis + 1, rank), op->smallest, op->select_last};
}

std::string arg_supports(const Problem& problem, const Machine&) {
  if (problem.op.as<ArgReduce>() == nullptr) return kAnotherOp;
  if (std::string reason = refuse_unless_fixed_f32(problem); !reason.empty()) return reason;
  const auto p = arg_problem(problem);
  if (!p.ok()) return p.status().message();
  const char* reason = cpu::arg_reduce_supports(*p);
  return reason != nullptr ? reason : "";
}

Result<std::unique_ptr<const Kernel>> arg_make(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  HONE_TRY(const auto p, arg_problem(problem));
  return kernel([p](const KernelArgs& args) -> Status {
    cpu::arg_reduce(p, args.inputs[0]->data<float>(), args.outputs[0]->mutable_data<int64_t>(), args.pool);
    return {};
  });
}

}  // namespace

std::span<const Tactic> reduce_tactics() {
  static constexpr Tactic kRows[] = {
      {"reduce", reduce_supports, one_variant, reduce_prepare, reduce_make, nullptr, drops_second},
      {"cpu.byte_sums", byte_sums_supports, one_variant, reduce_prepare, byte_sums_make, nullptr, drops_second},
      {"arg_reduce", arg_supports, one_variant, nothing_to_prepare, arg_make}};
  return kRows;
}

}  // namespace hone
