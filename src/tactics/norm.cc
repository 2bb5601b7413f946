#include "kernels/cpu/norm/norm.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/pointwise/pointwise.h"
#include "ops/elements.h"
#include "ops/norm.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

const float* floats(const KernelArgs& args, size_t i) {
  return i < args.inputs.size() && args.inputs[i]->defined() ? args.inputs[i]->data<float>() : nullptr;
}
float* results(const KernelArgs& args, size_t i) {
  return i < args.outputs.size() ? args.outputs[i]->mutable_data<float>() : nullptr;
}

// Of a problem in bf16 the scale and the bias are packed in f32.
std::string refuse_types(const Problem& problem, const Machine& machine) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (std::string reason = refuse_type_or_machine(problem.inputs[0].dtype, machine); !reason.empty()) return reason;
  if (!in_bf16(problem)) return {};
  if (problem.outputs.size() > 1) return "statistics beside a result in bf16";
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i) && !problem.constants.empty() && !problem.is_constant(i))
      return "a scale or a bias in bf16 is not constant";
  return refuse_other_types(problem, DType::bf16);
}

Result<Prepared> prepare(const Problem& problem, int, const Machine&) {
  Prepared prepared;
  if (!in_bf16(problem)) return prepared;
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i)) prepared.packed.push_back(in_f32(problem.constants[i]));
  prepared.drops = {false, true, true};
  return prepared;
}

bool drops_packed(size_t input, std::span<const Tensor> packed) { return input > 0 && !packed.empty(); }

// Scale and bias of a problem in bf16, each undefined where there is none.
Result<std::array<Tensor, 2>> packed_operands(const Problem& problem, std::span<const Tensor> packed) {
  std::array<Tensor, 2> operands;
  size_t next = 0;
  for (size_t i = 1; in_bf16(problem) && i < 3; ++i) {
    if (!has(problem, i)) continue;
    if (next == packed.size() || packed[next].type() != DType::f32 ||
        packed[next].count() != element_count(dims_of(problem.inputs[i])))
      return invalid("a packed scale or bias is missing or of another size");
    operands[i - 1] = packed[next++];
  }
  return next == packed.size() ? Result(operands) : invalid("more is packed than a scale and a bias");
}

Result<cpu::LayerNormProblem> layer_problem(const Problem& problem) {
  const auto* op = problem.op.as<LayerNorm>();
  const Dims dims = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(dims.size());
  HONE_TRY(const int64_t axis, normalize_axis(op->axis, rank));
  return cpu::LayerNormProblem{span_count(dims, 0, axis), span_count(dims, axis, rank), static_cast<float>(op->epsilon),
                               op->rms};
}

// The operand's elements are one row: the normalised dims in full, behind dims of 1 if any.
bool is_row(const Dims& operand, const Dims& x, size_t normalised) {
  if (operand.size() < normalised) return false;
  const auto ends = operand.end() - static_cast<int64_t>(normalised);
  return std::equal(ends, operand.end(), x.end() - static_cast<int64_t>(normalised)) &&
         std::all_of(operand.begin(), ends, [](int64_t d) { return d == 1; });
}

std::string layer_supports(const Problem& problem, const Machine& machine) {
  const auto* op = problem.op.as<LayerNorm>();
  if (op == nullptr) return kAnotherOp;
  if (std::string reason = refuse_types(problem, machine); !reason.empty()) return reason;
  const auto p = layer_problem(problem);
  if (!p.ok()) return p.status().message();
  const Dims x = dims_of(problem.inputs[0]);
  const auto normalised = static_cast<size_t>(op->axis < 0 ? -op->axis : static_cast<int64_t>(x.size()) - op->axis);
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i) && !is_row(dims_of(problem.inputs[i]), x, normalised))
      return fmt::format("the {} does not span the normalised dims alone", i == 1 ? "scale" : "bias");
  const char* reason = cpu::layer_norm_supports(*p);
  return reason != nullptr ? reason : "";
}

Result<std::unique_ptr<const Kernel>> layer_make(const Problem& problem, std::span<const Tensor> packed, int,
                                                 const Machine& machine) {
  HONE_TRY(const auto p, layer_problem(problem));
  if (in_bf16(problem)) {
    HONE_TRY(const auto operands, packed_operands(problem, packed));
    return kernel([p, operands, tier = tier_of(machine)](const KernelArgs& args) -> Status {
      cpu::layer_norm(p, tier, args.inputs[0]->data<bf16>(), operands[0].data<float>(), operands[1].data<float>(),
                      args.outputs[0]->mutable_data<bf16>(), args.pool);
      return {};
    });
  }
  return kernel([p, tier = tier_of(machine)](const KernelArgs& args) -> Status {
    float* mean = p.rms ? nullptr : results(args, 1);
    float* inverse = results(args, p.rms ? 1 : 2);
    cpu::layer_norm(p, tier, floats(args, 0), floats(args, 1), floats(args, 2), results(args, 0), args.pool,
                    {mean, inverse});
    return {};
  });
}

int in_place(const Problem&) { return 0; }

Result<cpu::GroupNormProblem> group_problem(const Problem& problem) {
  const auto* op = problem.op.as<GroupNorm>();
  const Dims dims = dims_of(problem.inputs[0]);
  if (dims.size() < 2) return invalid("fewer than two dims");
  const auto rank = static_cast<int64_t>(dims.size());
  cpu::GroupNormProblem p{.batch = dims[0], .channels = op->channels_last ? dims.back() : dims[1]};
  p.pixels = op->channels_last ? span_count(dims, 1, rank - 1) : span_count(dims, 2, rank);
  p.groups = op->groups > 0 ? op->groups : p.channels;
  p.epsilon = static_cast<float>(op->epsilon);
  return p;
}

std::string group_supports(const Problem& problem, const Machine& machine, bool channels_last) {
  const auto* op = problem.op.as<GroupNorm>();
  if (op == nullptr || op->channels_last != channels_last) return kAnotherOp;
  if (std::string reason = refuse_types(problem, machine); !reason.empty()) return reason;
  if (in_bf16(problem) && !channels_last) return "channels of bf16 are not last";
  const auto p = group_problem(problem);
  if (!p.ok()) return p.status().message();
  const char* reason = cpu::group_norm_supports(*p);
  return reason != nullptr ? reason : "";
}

std::string last_supports(const Problem& problem, const Machine& machine) {
  return group_supports(problem, machine, true);
}
std::string first_supports(const Problem& problem, const Machine& machine) {
  return group_supports(problem, machine, false);
}

Result<std::unique_ptr<const Kernel>> last_make(const Problem& problem, std::span<const Tensor> packed, int,
                                                const Machine& machine) {
  HONE_TRY(const auto p, group_problem(problem));
  const auto workspace = static_cast<int64_t>(cpu::group_norm_workspace_bytes(p, machine.threads));
  if (in_bf16(problem)) {
    HONE_TRY(const auto operands, packed_operands(problem, packed));
    return kernel(
        [p, operands, tier = tier_of(machine)](const KernelArgs& args) -> Status {
          cpu::group_norm(p, tier, args.inputs[0]->data<bf16>(), operands[0].data<float>(), operands[1].data<float>(),
                          args.outputs[0]->mutable_data<bf16>(), args.workspace, args.pool);
          return {};
        },
        workspace);
  }
  return kernel(
      [p, tier = tier_of(machine)](const KernelArgs& args) -> Status {
        cpu::group_norm(p, tier, floats(args, 0), floats(args, 1), floats(args, 2), results(args, 0), args.workspace,
                        args.pool);
        return {};
      },
      workspace);
}

// y * scale + bias, whichever are there, a value a channel.
Result<cpu::PointwisePlan> affine_plan(const Problem& problem, const cpu::GroupNormProblem& p, cpu::Tier tier) {
  const Dims y{p.batch, p.channels, p.pixels}, channel{p.channels, 1};
  std::vector<cpu::PointwiseOperand> operands{{DType::f32, y}};
  PointwiseProgram program{{{.fn = Fn::input, .input = 0}}};
  for (size_t i = 1; i < 3; ++i) {
    if (!has(problem, i)) continue;
    const auto result = static_cast<int32_t>(program.code.size()) - 1;
    program.code.push_back({.fn = Fn::input, .input = static_cast<int32_t>(operands.size())});
    program.code.push_back({.fn = i == 1 ? Fn::mul : Fn::add, .operand = {result, result + 1, -1}});
    operands.push_back({DType::f32, channel});
  }
  return cpu::PointwisePlan::make(program, operands, {DType::f32, y}, tier);
}

// A group of an NCHW image is contiguous: it is normalised as a row, and channels scaled after that.
Result<std::unique_ptr<const Kernel>> first_make(const Problem& problem, std::span<const Tensor>, int,
                                                 const Machine& machine) {
  HONE_TRY(const auto p, group_problem(problem));
  HONE_TRY(auto affine, affine_plan(problem, p, tier_of(machine)));
  const cpu::LayerNormProblem rows{p.batch * p.groups, p.channels / p.groups * p.pixels, p.epsilon, false};
  const bool scaled = has(problem, 1) || has(problem, 2);
  const auto workspace = static_cast<int64_t>(affine.workspace_bytes(machine.threads));
  return kernel(
      [=, tier = tier_of(machine)](const KernelArgs& args) -> Status {
        float* y = results(args, 0);
        cpu::layer_norm(rows, tier, floats(args, 0), nullptr, nullptr, y, args.pool);
        if (!scaled) return {};
        const float *scale = floats(args, 1), *bias = floats(args, 2);
        const void* operands[] = {y, scale != nullptr ? scale : bias, bias};
        affine.run(operands, y, args.workspace, args.pool);
        return {};
      },
      workspace);
}

}  // namespace

std::span<const Tactic> norm_tactics() {
  static constexpr Tactic kRows[] = {
      {"layer_norm", layer_supports, one_variant, prepare, layer_make, in_place, drops_packed},
      {"group_norm", last_supports, one_variant, prepare, last_make, in_place, drops_packed},
      {"group_norm_nchw", first_supports, one_variant, nothing_to_prepare, first_make, in_place}};
  return kRows;
}

}  // namespace hone
