// Products of bf16, of tensors in bf16 or, where it is allowed to round their factors, in f32: one tactic for each
// instruction set.
#include "kernels/cpu/bf16/bf16.h"

#include "tactics/in_bf16.h"
#include "tactics/matmul_layout.h"
#include "tactics/product.h"

namespace hone {
namespace {

using cpu::Bf16Set;

template <class AnchorOp, Bf16Set kSet>
std::string supports(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<AnchorOp>() == nullptr) return kAnotherOp;
  if (std::string reason = refuse_bf16_product(problem, *anchor, machine, kSet); !reason.empty()) return reason;
  const DType type = factor_type(problem);
  if (std::string reason = refuse_product(problem, anchor->op, type, type); !reason.empty()) return reason;
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
        cpu::bf16_conv(p, multiplier, sharing, bf16_args(anchor, args, weights, bias));
        return {};
      },
      static_cast<int64_t>(cpu::bf16_workspace_bytes(p, multiplier, sharing)));
}

// Products of two activations, whose right operand is packed on the way.

template <Bf16Set kSet>
std::string supports_activations(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<MatMul>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (std::string reason = refuse_bf16_product(problem, *anchor, machine, kSet); !reason.empty()) return reason;
  if (problem.is_constant(1)) return "the right operand is constant";
  const MatMulLayout layout = matmul_layout(problem, *anchor->op.as<MatMul>());
  if (!layout.refused.empty()) return layout.refused;
  return layout.gemm.k == 1 && !in_bf16(problem) ? "nothing is summed, and factors would be rounded" : "";
}

cpu::Bf16Product product_of(const Problem& problem, const Anchor& anchor) {
  const MatMulLayout l = matmul_layout(problem, *anchor.op.as<MatMul>());
  return {.batch = l.gemm.batch, .m = l.gemm.m, .n = l.gemm.n, .k = l.gemm.k, .transposed = l.trans_b};
}

std::vector<cpu::ProductSharing> sharings(const Problem& problem, const Machine& machine) {
  std::vector<cpu::ProductSharing> list;
  for (const bool in_place : {false, true}) {
    if (in_place && !in_bf16(problem)) break;
    for (const int tasks : {1, 4})
      if (tasks == 1 || machine.threads > 1)
        list.push_back({.threads = machine.threads, .tasks = tasks, .in_place = in_place});
  }
  return list;
}

int activation_variants(const Problem& problem, const Machine& machine) {
  return static_cast<int>(sharings(problem, machine).size());
}

Result<Prepared> prepare_activations(const Problem& problem, int, const Machine&) {
  Prepared prepared;
  pack_bias(problem, *view_anchor(problem), prepared);
  if (!prepared.drops.empty()) prepared.drops[0] = prepared.drops[1] = false;
  return prepared;
}

template <Bf16Set kSet>
Result<std::unique_ptr<const Kernel>> make_activations(const Problem& problem, std::span<const Tensor> packed,
                                                       int variant, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::Bf16Product product = product_of(problem, *anchor);
  const cpu::Bf16Kernel& multiplier = cpu::bf16_kernel(kSet);
  const auto list = sharings(problem, machine);
  const cpu::ProductSharing sharing = list[static_cast<size_t>(variant) % list.size()];
  HONE_TRY(const Tensor bias, packed_bias(problem, *anchor, packed, 0, product.n));
  return kernel(
      [=, &multiplier, anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::bf16_product(product, multiplier, sharing, bf16_args(anchor, args, *args.inputs[1], bias));
        return {};
      },
      static_cast<int64_t>(cpu::bf16_product_workspace_bytes(product, multiplier, sharing)));
}

bool drops_bias(size_t input, std::span<const Tensor> packed) { return input == 2 && !packed.empty(); }

template <Bf16Set kSet>
constexpr Tactic row_of_activations(std::string_view name) {
  return {name,
          supports_activations<kSet>,
          activation_variants,
          prepare_activations,
          make_activations<kSet>,
          residual_in_place,
          drops_bias};
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
  static constexpr Tactic kRows[] = {row<Conv, Bf16Set::amx>("cpu.conv_amx_bf16"),
                                     row<Conv, Bf16Set::avx512>("cpu.conv_avx512_bf16"),
                                     row<MatMul, Bf16Set::amx>("cpu.gemm_amx_bf16"),
                                     row<MatMul, Bf16Set::avx512>("cpu.gemm_avx512_bf16"),
                                     row_of_activations<Bf16Set::amx>("cpu.gemm_activations_amx_bf16"),
                                     row_of_activations<Bf16Set::avx512>("cpu.gemm_activations_avx512_bf16")};
  return kRows;
}

}  // namespace hone
