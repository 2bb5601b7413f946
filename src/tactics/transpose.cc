#include "kernels/cpu/transpose/transpose.h"

#include <cstring>

#include "kernels/cpu/bf16/planes.h"
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

// The Transpose of a node that is one, and a cast of its result to bf16.
const Transpose* with_cast_to_bf16(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return nullptr;
  const auto order = fused->body->order();
  if (order.size() != 2) return nullptr;
  const auto* cast = fused->body->node(order[1]).op.as<Pointwise>();
  if (cast == nullptr || cast->program != single(Fn::cast, DType::f32, DType::bf16)) return nullptr;
  return fused->body->node(order[0]).op.as<Transpose>();
}

// Whether channels, which come second, become the last.
bool moves_channels_last(const Transpose& op) {
  std::vector<int64_t> perm{0};
  for (size_t d = 2; d < op.perm.size(); ++d) perm.push_back(static_cast<int64_t>(d));
  perm.push_back(1);
  return op.perm.size() > 2 && op.perm == perm;
}

std::string cast_supports(const Problem& problem, const Machine& machine) {
  const Transpose* op = with_cast_to_bf16(problem);
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (!moves_channels_last(*op) || dims_of(problem.inputs[0])[1] > cpu::kMostPlanes) return "no planes of an image";
  return refuse_type_or_machine(DType::bf16, machine);
}

Result<std::unique_ptr<const Kernel>> make_with_cast(const Problem& problem, std::span<const Tensor>, int,
                                                     const Machine&) {
  const Dims dims = dims_of(problem.inputs[0]);
  const int64_t pixels = span_count(dims, 2, static_cast<int64_t>(dims.size()));
  return kernel([batch = dims[0], channels = dims[1], pixels](const KernelArgs& args) {
    cpu::planes_to_pixels(batch, channels, pixels, args.inputs[0]->data<float>(), args.outputs[0]->mutable_data<bf16>(),
                          args.pool);
    return Status();
  });
}

}  // namespace

std::span<const Tactic> transpose_tactics() {
  static constexpr Tactic kRows[] = {
      {"transpose_to_bf16", cast_supports, one_variant, nothing_to_prepare, make_with_cast},
      {"transpose", supports, one_variant, nothing_to_prepare, make, in_place}};
  return kRows;
}

}  // namespace hone
