#include "ops/conv.h"

#include <array>

#include "tactics/conv_problem.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

// kErrorBound of those that round to bf16: 2.5 times what a product that rounds its factors errs by in that model.
constexpr double kErrorBoundInBf16 = 1.2e-2;
constexpr size_t kAlgorithms = 20;  // conv_algorithms() but for its own reference

const cpu::ConvAlgorithm& algorithm(size_t index) { return *cpu::conv_algorithms()[index]; }

std::string refuse_shape(const Problem& problem, const Conv& conv) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (!conv.channels_last) return "activations are not channels-last";
  const int64_t rank = problem.inputs[0].shape.rank();
  if (rank != 3 && rank != 4) return "neither 1-D nor 2-D";
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  return {};
}

template <size_t I>
std::string supports(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const auto* conv = anchor ? anchor->op.as<Conv>() : nullptr;
  if (conv == nullptr) return kAnotherOp;
  if (std::string reason = refuse_shape(problem, *conv); !reason.empty()) return reason;
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  if (in_bf16(problem) ? !algorithm(I).takes_bf16 : !algorithm(I).takes_f32)
    return in_bf16(problem) ? "tensors are not f32" : "tensors are not bf16";
  if (std::string reason = refuse_types_or_machine(problem, machine); !reason.empty()) return reason;
  if (std::string reason = refuse_bias(problem, *anchor); !reason.empty()) return reason;
  if (tier_of(machine) < algorithm(I).least_tier) return kNeedsAvx512;
  const cpu::ConvProblem p = conv_problem(problem, *conv);
  if (const char* reason = algorithm(I).supports(p)) return reason;
  if (algorithm(I).error_bound == nullptr) return "";
  // Weights that are not known are those of an engine being loaded: judged when it was built.
  const bool judge = machine.winograd && problem.is_constant(1);
  const double error = judge ? algorithm(I).error_bound(p, in_f32(problem.constants[1]).data<float>()) : 0;
  return refuse_error(error, algorithm(I).takes_f32 ? kErrorBound : kErrorBoundInBf16, machine);
}

std::vector<cpu::ConvVariant> candidates(size_t index, const cpu::ConvProblem& p, const Machine& machine) {
  std::array<cpu::ConvVariant, 32> list;
  const size_t n = algorithm(index).candidates(p, {.tier = tier_of(machine), .threads = machine.threads}, list);
  return {list.begin(), list.begin() + static_cast<std::ptrdiff_t>(n)};
}

template <size_t I>
int variants(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  return std::max<int>(1,
                       static_cast<int>(candidates(I, conv_problem(problem, *anchor->op.as<Conv>()), machine).size()));
}

template <size_t I>
Result<Prepared> prepare(const Problem& problem, int, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = conv_problem(problem, *anchor->op.as<Conv>());
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(algorithm(I).packed_bytes(p, tier))});
  algorithm(I).pack(p, tier, in_f32(problem.constants[1]).data<float>(), packed.mutable_raw());
  Prepared prepared = packed_weights(packed, tier);
  pack_bias(problem, *anchor, prepared);
  return prepared;
}

template <size_t I>
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = conv_problem(problem, *anchor->op.as<Conv>());
  HONE_TRY(const Tensor bias, packed_bias(problem, *anchor, packed, 2, p.cout));
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed.first(2), [&](cpu::Tier tier) { return algorithm(I).packed_bytes(p, tier); }));
  cpu::ConvContext context{.tier = tier, .threads = machine.threads, .in_bf16 = in_bf16(problem)};
  const auto list = candidates(I, p, machine);
  if (static_cast<size_t>(variant) < list.size()) context.variant = list[static_cast<size_t>(variant)];
  return kernel(
      [p, context, bias, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        const cpu::ConvArgs call{.in = args.inputs[0]->raw(),
                                 .packed = weights.raw(),
                                 .out = args.outputs[0]->mutable_raw(),
                                 .epilogue = epilogue_of(anchor, args, bias),
                                 .workspace = args.workspace,
                                 .pool = &args.pool};
        algorithm(I).run(p, context, call);
        return {};
      },
      static_cast<int64_t>(algorithm(I).workspace_bytes(p, context)));
}

template <size_t I>
Tactic row(std::string_view name) {
  return {name, supports<I>, variants<I>, prepare<I>, make<I>, residual_in_place, drops_weights_and_bias<2>};
}

}  // namespace

std::span<const Tactic> conv_tactics() {
  static const std::array<Tactic, kAlgorithms> kRows = {row<0>("cpu.conv_1x1"),
                                                        row<1>("cpu.conv_strassen"),
                                                        row<2>("cpu.conv_fip"),
                                                        row<3>("cpu.conv_strassen_fip"),
                                                        row<4>("cpu.conv_depthwise"),
                                                        row<5>("cpu.conv_winograd_f4"),
                                                        row<6>("cpu.conv_winograd_f5"),
                                                        row<7>("cpu.conv_winograd_f2"),
                                                        row<8>("cpu.conv_winograd_s2_f4"),
                                                        row<9>("cpu.conv_winograd_s2_f2"),
                                                        row<10>("cpu.conv_winograd_f4_fip"),
                                                        row<11>("cpu.conv_winograd_f5_fip"),
                                                        row<12>("cpu.conv_winograd_s2_f4_fip"),
                                                        row<13>("cpu.conv_winograd_f2_bf16"),
                                                        row<14>("cpu.conv_winograd_s2_f2_bf16"),
                                                        row<15>("cpu.conv_winograd_f4_k4"),
                                                        row<16>("cpu.conv_winograd_phases"),
                                                        row<17>("cpu.conv_dot"),
                                                        row<18>("cpu.conv_direct"),
                                                        row<19>("cpu.conv_grouped")};
  return kRows;
}

}  // namespace hone
