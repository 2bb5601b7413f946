// Products of f32 tensors with factors rounded to bf16, where that is allowed: one tactic for each instruction set.
#include "kernels/cpu/bf16/bf16.h"

#include "tactics/anchor.h"
#include "tactics/product.h"

namespace hone {
namespace {

using cpu::Bf16Set;

template <class AnchorOp, Bf16Set kSet>
std::string supports(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<AnchorOp>() == nullptr) return kAnotherOp;
  if (!machine.bf16) return "bf16 is not allowed";
  if (tier_of(machine) < cpu::Tier::avx512 || !cpu::has_bf16_set(kSet))
    return fmt::format("needs {}", cpu::bf16_set_name(kSet));
  if (std::string reason = refuse_product(problem, anchor->op, DType::f32, DType::f32); !reason.empty()) return reason;
  for (const TensorType& t : problem.inputs)
    if (t.defined() && t.dtype != DType::f32) return "a bias or a residual is not f32";
  return is_depthwise(product_geometry(problem, anchor->op)) ? "one channel a group" : "";
}

std::vector<cpu::GatherSharing> tunings(const Machine& machine) {
  std::vector<cpu::GatherSharing> list{{.threads = machine.threads}};
  for (int split = 1; split <= (machine.threads > 1 ? 2 : 1); ++split)
    for (int rows : {24, 96}) list.push_back({.threads = machine.threads, .split = split, .row_block = rows});
  return list;
}

int variants(const Problem&, const Machine& machine) { return static_cast<int>(tunings(machine).size()); }

template <Bf16Set kSet>
Result<Prepared> prepare(const Problem& problem, int, const Machine&) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = product_geometry(problem, anchor->op);
  const cpu::Bf16Kernel& kernel = cpu::bf16_kernel(kSet);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::bf16_packed_bytes(p, kernel))});
  cpu::bf16_pack(p, kernel, product_weights<float>(problem, anchor->op, p), packed.mutable_raw());
  return Prepared{{packed}, {false, true}};
}

template <Bf16Set kSet>
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = product_geometry(problem, anchor->op);
  const cpu::Bf16Kernel& multiplier = cpu::bf16_kernel(kSet);
  const auto list = tunings(machine);
  const cpu::GatherSharing sharing = list[static_cast<size_t>(variant) % list.size()];
  if (packed.size() != 1 || packed[0].count() < static_cast<int64_t>(cpu::bf16_packed_bytes(p, multiplier)))
    return invalid("packed weights are missing or too small");
  return kernel(
      [p, sharing, &multiplier, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::bf16_conv(p, multiplier, sharing,
                       {.in = args.inputs[0]->data<float>(),
                        .packed = weights.raw(),
                        .out = args.outputs[0]->mutable_data<float>(),
                        .epilogue = epilogue_of(anchor, args),
                        .workspace = args.workspace,
                        .pool = &args.pool});
        return {};
      },
      static_cast<int64_t>(cpu::bf16_workspace_bytes(p, multiplier, sharing)));
}

template <class AnchorOp, Bf16Set kSet>
constexpr Tactic row(std::string_view name) {
  return {name, supports<AnchorOp, kSet>, variants, prepare<kSet>, make<kSet>, residual_in_place, drops_second};
}

}  // namespace

std::span<const Tactic> bf16_tactics() {
  static constexpr Tactic kRows[] = {
      row<Conv, Bf16Set::amx>("cpu.conv_amx_bf16"), row<Conv, Bf16Set::avx512>("cpu.conv_avx512_bf16"),
      row<MatMul, Bf16Set::amx>("cpu.gemm_amx_bf16"), row<MatMul, Bf16Set::avx512>("cpu.gemm_avx512_bf16")};
  return kRows;
}

}  // namespace hone
