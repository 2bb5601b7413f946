#include "kernels/cpu/conv/conv_transpose.h"

#include "ops/conv.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

cpu::ConvTransposeProblem problem_of(const Problem& problem, const ConvTranspose& conv) {
  const Dims x = dims_of(problem.inputs[0]), w = dims_of(problem.inputs[1]);
  const bool flat = x.size() == 3;  // 1-D: of height 1
  const auto first = [flat](const std::vector<int64_t>& list, int64_t one) { return flat ? one : list[0]; };
  cpu::ConvTransposeProblem p;
  p.n = x[0];
  p.h = flat ? 1 : x[1];
  p.w = x[x.size() - 2];
  p.cin = x.back();
  p.cout = w[1] * conv.groups;
  p.kh = flat ? 1 : w[2];
  p.kw = w.back();
  p.stride_h = first(conv.strides, 1);
  p.stride_w = conv.strides.back();
  p.dilation_h = first(conv.dilations, 1);
  p.dilation_w = conv.dilations.back();
  p.pad_top = first(conv.pads, 0);
  p.pad_left = flat ? conv.pads[0] : conv.pads[1];
  p.pad_bottom = flat ? 0 : conv.pads[2];
  p.pad_right = conv.pads.back();
  p.output_padding_h = first(conv.output_padding, 0);
  p.output_padding_w = conv.output_padding.back();
  p.groups = conv.groups;
  return p;
}

// Why no kernel can do it, or empty. The type is that of the tensors.
std::string refuse(const Problem& problem, const ConvTranspose& conv, DType type) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[0].dtype != type) return fmt::format("not {}", name(type));
  if (!conv.channels_last) return "activations are not channels-last";
  const int64_t rank = problem.inputs[0].shape.rank();
  if (rank != 3 && rank != 4) return "neither 1-D nor 2-D";
  if (conv.output_padding.size() + 2 != static_cast<size_t>(rank)) return "no output padding is given";
  if (element_count(dims_of(problem.outputs[0])) == 0 || element_count(dims_of(problem.inputs[0])) == 0) return "empty";
  return !problem.constants.empty() && !problem.is_constant(1) ? "weights are not constant" : "";
}

std::string supports(const Problem& problem, const Machine&) {
  const auto anchor = view_anchor(problem);
  const auto* conv = anchor ? anchor->op.as<ConvTranspose>() : nullptr;
  return conv == nullptr ? kAnotherOp : refuse(problem, *conv, DType::f32);
}

Result<Prepared> prepare(const Problem& problem, int, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const auto p = problem_of(problem, *anchor->op.as<ConvTranspose>());
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::conv_transpose_packed_bytes(p, tier))});
  cpu::conv_transpose_pack(p, tier, problem.constants[1].data<float>(), packed.mutable_raw());
  return packed_weights(packed, tier);
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int,
                                           const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const auto p = problem_of(problem, *anchor->op.as<ConvTranspose>());
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed, [&](cpu::Tier tier) { return cpu::conv_transpose_packed_bytes(p, tier); }));
  const cpu::ConvContext context{.tier = tier, .threads = machine.threads};
  return kernel(
      [p, context, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        const cpu::ConvArgs call{.in = args.inputs[0]->data<float>(),
                                 .packed = weights.raw(),
                                 .out = args.outputs[0]->mutable_data<float>(),
                                 .epilogue = epilogue_of(anchor, args),
                                 .workspace = args.workspace,
                                 .pool = &args.pool};
        cpu::conv_transpose(p, context, call);
        return {};
      },
      static_cast<int64_t>(cpu::conv_transpose_workspace_bytes(p, context)));
}

template <cpu::Bf16Set kSet>
std::string supports_bf16(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const auto* conv = anchor ? anchor->op.as<ConvTranspose>() : nullptr;
  if (conv == nullptr) return kAnotherOp;
  if (std::string reason = refuse_bf16_product(problem, *anchor, machine, kSet); !reason.empty()) return reason;
  return refuse(problem, *conv, factor_type(problem));
}

template <cpu::Bf16Set kSet>
Result<Prepared> prepare_bf16(const Problem& problem, int, const Machine&) {
  const auto anchor = view_anchor(problem);
  const auto p = problem_of(problem, *anchor->op.as<ConvTranspose>());
  const cpu::Bf16Kernel& multiplier = cpu::bf16_kernel(kSet);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::bf16_transposed_packed_bytes(p, multiplier))});
  const Problem floats = with_constants_in_f32(problem);
  cpu::bf16_transposed_pack(p, multiplier, floats.constants[1].data<float>(), packed.mutable_raw());
  Prepared prepared{{packed}, {false, true}};
  pack_bias(problem, *anchor, prepared);
  return prepared;
}

template <cpu::Bf16Set kSet>
Result<std::unique_ptr<const Kernel>> make_bf16(const Problem& problem, std::span<const Tensor> packed, int,
                                                const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const auto p = problem_of(problem, *anchor->op.as<ConvTranspose>());
  const cpu::Bf16Kernel& multiplier = cpu::bf16_kernel(kSet);
  HONE_TRY(const Tensor bias, packed_bias(problem, *anchor, packed, 1, p.cout));
  if (packed[0].count() != static_cast<int64_t>(cpu::bf16_transposed_packed_bytes(p, multiplier)))
    return invalid("packed weights are of another size");
  return kernel(
      [p, &multiplier, threads = machine.threads, weights = packed[0], bias,
       anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::bf16_conv_transpose(p, multiplier, threads, bf16_args(anchor, args, weights, bias));
        return {};
      },
      static_cast<int64_t>(cpu::bf16_transposed_workspace_bytes(p, multiplier, machine.threads)));
}

template <cpu::Bf16Set kSet>
constexpr Tactic row(std::string_view name) {
  return {name,
          supports_bf16<kSet>,
          one_variant,
          prepare_bf16<kSet>,
          make_bf16<kSet>,
          residual_in_place,
          drops_weights_and_bias<1>};
}

}  // namespace

std::span<const Tactic> conv_transpose_tactics() {
  static constexpr Tactic kRows[] = {
      row<cpu::Bf16Set::amx>("cpu.conv_transpose_amx_bf16"),
      row<cpu::Bf16Set::avx512>("cpu.conv_transpose_avx512_bf16"),
      {"cpu.conv_transpose", supports, one_variant, prepare, make, residual_in_place, drops_second}};
  return kRows;
}

}  // namespace hone
