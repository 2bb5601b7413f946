// Products of bf16, of tensors in bf16 or, where it is allowed to round their factors, in f32: one tactic for each
// instruction set.
#include "kernels/cpu/bf16/bf16.h"

#include "tactics/in_bf16.h"
#include "tactics/product.h"

namespace hone {
namespace {

using cpu::Bf16Set;

template <class AnchorOp, Bf16Set kSet>
std::string supports(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<AnchorOp>() == nullptr) return kAnotherOp;
  const DType type = problem.inputs[0].dtype == DType::bf16 ? DType::bf16 : DType::f32;
  if (type == DType::f32 && !machine.bf16) return "bf16 is not allowed";
  if (tier_of(machine) < cpu::Tier::avx512 || !cpu::has_bf16_set(kSet))
    return fmt::format("needs {}", cpu::bf16_set_name(kSet));
  if (std::string reason = refuse_product(problem, anchor->op, type, type); !reason.empty()) return reason;
  if (std::string reason = refuse_other_types(problem, type); !reason.empty()) return reason;
  if (std::string reason = refuse_bias(problem, *anchor); !reason.empty()) return reason;
  return is_depthwise(product_geometry(problem, anchor->op)) ? "one channel a group" : "";
}

// Rows in bf16 may lie in memory as they are multiplied; gathered, they may lie better in the caches.
std::vector<cpu::GatherSharing> tunings(const Problem& problem, const Machine& machine) {
  std::vector<cpu::GatherSharing> list;
  for (const bool in_place : {false, true}) {
    if (in_place && !in_bf16(problem)) break;
    list.push_back({.threads = machine.threads, .in_place = in_place});
    for (int split = 1; split <= (machine.threads > 1 ? 2 : 1); ++split)
      for (int rows : {48, 384})
        list.push_back({.threads = machine.threads, .split = split, .row_block = rows, .in_place = in_place});
  }
  return list;
}

int variants(const Problem& problem, const Machine& machine) {
  return static_cast<int>(tunings(problem, machine).size());
}

template <Bf16Set kSet>
Result<Prepared> prepare(const Problem& problem, int, const Machine&) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = product_geometry(problem, anchor->op);
  const cpu::Bf16Kernel& kernel = cpu::bf16_kernel(kSet);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::bf16_packed_bytes(p, kernel))});
  const Problem floats = with_constants_in_f32(problem);
  cpu::bf16_pack(p, kernel, product_weights<float>(floats, anchor->op, p), packed.mutable_raw());
  Prepared prepared{{packed}, {false, true}};
  pack_bias(problem, *anchor, prepared);
  return prepared;
}

template <Bf16Set kSet>
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = product_geometry(problem, anchor->op);
  const cpu::Bf16Kernel& multiplier = cpu::bf16_kernel(kSet);
  const auto list = tunings(problem, machine);
  const cpu::GatherSharing sharing = list[static_cast<size_t>(variant) % list.size()];
  HONE_TRY(const Tensor bias, packed_bias(problem, *anchor, packed, 1, p.cout));
  if (packed[0].count() < static_cast<int64_t>(cpu::bf16_packed_bytes(p, multiplier)))
    return invalid("packed weights are missing or too small");
  return kernel(
      [=, &multiplier, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::bf16_conv(p, multiplier, sharing,
                       {.in_bf16 = args.inputs[0]->type() == DType::bf16,
                        .in = args.inputs[0]->raw(),
                        .packed = weights.raw(),
                        .out = args.outputs[0]->mutable_raw(),
                        .epilogue = epilogue_of(anchor, args, bias),
                        .workspace = args.workspace,
                        .pool = &args.pool});
        return {};
      },
      static_cast<int64_t>(cpu::bf16_workspace_bytes(p, multiplier, sharing)));
}

template <class AnchorOp, Bf16Set kSet>
constexpr Tactic row(std::string_view name) {
  return {name,
          supports<AnchorOp, kSet>,
          variants,
          prepare<kSet>,
          make<kSet>,
          residual_in_place,
          drops_weights_and_bias<1>};
}

}  // namespace

std::span<const Tactic> bf16_tactics() {
  static constexpr Tactic kRows[] = {
      row<Conv, Bf16Set::amx>("cpu.conv_amx_bf16"), row<Conv, Bf16Set::avx512>("cpu.conv_avx512_bf16"),
      row<MatMul, Bf16Set::amx>("cpu.gemm_amx_bf16"), row<MatMul, Bf16Set::avx512>("cpu.gemm_avx512_bf16")};
  return kRows;
}

}  // namespace hone
