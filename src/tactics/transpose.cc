#include "kernels/cpu/transpose/transpose.h"

#include <cmath>
#include <cstring>

#include "kernels/cpu/planes/planes.h"
#include "ops/elements.h"
#include "ops/movement.h"
#include "tactics/in_bf16.h"

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

// A Transpose and elementwise work on what it moves, before or behind it.
struct Planes {
  const Transpose* op = nullptr;
  const PointwiseProgram* program = nullptr;
};

Planes view_planes(const Problem& problem) {
  Planes planes;
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr || problem.inputs.size() != 1) return planes;
  for (NodeId id : fused->body->order()) {
    const Op& op = fused->body->node(id).op;
    if (const auto* transpose = op.as<Transpose>()) planes.op = transpose;
    else if (const auto* pointwise = op.as<Pointwise>()) planes.program = &pointwise->program;
  }
  return fused->body->node_count() == 2 ? planes : Planes();
}

// clip(round(x * step) + zero, low, high) of f32 as i8; nothing when the program is another.
std::optional<cpu::Quantizer> as_quantizer(const PointwiseProgram& program) {
  const auto at = [&](const PointwiseInstr& instr, int operand) -> const PointwiseInstr& {
    return program.code[static_cast<size_t>(instr.operand[operand])];
  };
  const auto whole = [](const PointwiseInstr& instr) {
    return instr.fn == Fn::constant && instr.value == std::nearbyint(instr.value) && std::fabs(instr.value) <= 128;
  };
  cpu::Quantizer by;
  const PointwiseInstr& last = program.code.back();
  if (last.fn != Fn::cast || last.type != DType::i8 || at(last, 0).fn != Fn::clip) return std::nullopt;
  const PointwiseInstr& clip = at(last, 0);
  if (!whole(at(clip, 1)) || !whole(at(clip, 2))) return std::nullopt;
  by.low = static_cast<float>(at(clip, 1).value);
  by.high = static_cast<float>(at(clip, 2).value);
  const PointwiseInstr* rounded = &at(clip, 0);
  if (rounded->fn == Fn::add) {
    if (!whole(at(*rounded, 1))) return std::nullopt;
    by.zero = static_cast<int>(at(*rounded, 1).value);
    rounded = &at(*rounded, 0);
  }
  if (rounded->fn != Fn::round) return std::nullopt;
  const PointwiseInstr& scaled = at(*rounded, 0);
  if ((scaled.fn != Fn::mul && scaled.fn != Fn::div) || scaled.type != DType::f32) return std::nullopt;
  if (at(scaled, 0).fn != Fn::input || at(scaled, 1).fn != Fn::constant) return std::nullopt;
  by.step = static_cast<float>(at(scaled, 1).value);
  by.divides = scaled.fn == Fn::div;
  return by;
}

// Whether channels, which come second, become the last.
bool moves_channels_last(const Transpose& op) {
  std::vector<int64_t> perm{0};
  for (size_t d = 2; d < op.perm.size(); ++d) perm.push_back(static_cast<int64_t>(d));
  perm.push_back(1);
  return op.perm.size() > 2 && op.perm == perm;
}

std::string refuse_planes(const Problem& problem, const Planes& planes) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (!moves_channels_last(*planes.op) || dims_of(problem.inputs[0])[1] > cpu::kMostPlanes)
    return "no planes of an image";
  return {};
}

std::string cast_supports(const Problem& problem, const Machine& machine) {
  const Planes planes = view_planes(problem);
  if (planes.op == nullptr || planes.program == nullptr) return kAnotherOp;
  if (*planes.program != single(Fn::cast, DType::f32, DType::bf16)) return kAnotherOp;
  if (std::string reason = refuse_planes(problem, planes); !reason.empty()) return reason;
  return refuse_type_or_machine(DType::bf16, machine);
}

std::string quantizing_supports(const Problem& problem, const Machine&) {
  const Planes planes = view_planes(problem);
  if (planes.op == nullptr || planes.program == nullptr || !as_quantizer(*planes.program)) return kAnotherOp;
  return refuse_planes(problem, planes);
}

cpu::PlanesShape planes_of(const Problem& problem) {
  const Dims dims = dims_of(problem.inputs[0]);
  return {dims[0], dims[1], span_count(dims, 2, static_cast<int64_t>(dims.size()))};
}

Result<std::unique_ptr<const Kernel>> make_with_cast(const Problem& problem, std::span<const Tensor>, int,
                                                     const Machine&) {
  return kernel([shape = planes_of(problem)](const KernelArgs& args) {
    cpu::planes_to_pixels(shape, args.inputs[0]->data<float>(), args.outputs[0]->mutable_data<bf16>(), args.pool);
    return Status();
  });
}

Result<std::unique_ptr<const Kernel>> make_quantizing(const Problem& problem, std::span<const Tensor>, int,
                                                      const Machine& machine) {
  const cpu::Quantizer by = *as_quantizer(*view_planes(problem).program);
  return kernel([shape = planes_of(problem), by, tier = tier_of(machine)](const KernelArgs& args) {
    cpu::planes_to_pixels(shape, by, args.inputs[0]->data<float>(), args.outputs[0]->mutable_data<int8_t>(), tier,
                          args.pool);
    return Status();
  });
}

}  // namespace

std::span<const Tactic> transpose_tactics() {
  static constexpr Tactic kRows[] = {
      {"transpose_to_bf16", cast_supports, one_variant, nothing_to_prepare, make_with_cast},
      {"transpose_to_i8", quantizing_supports, one_variant, nothing_to_prepare, make_quantizing},
      {"transpose", supports, one_variant, nothing_to_prepare, make, in_place}};
  return kRows;
}

}  // namespace hone
