#include "ops/conv.h"

#include <array>

#include "tactics/anchor.h"
#include "tactics/conv_problem.h"

namespace hone {
namespace {

constexpr size_t kAlgorithms = 10;  // conv_algorithms() but for its own reference

const cpu::ConvAlgorithm& algorithm(size_t index) { return *cpu::conv_algorithms()[index]; }

std::string refuse_shape(const Problem& problem, const Conv& conv) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[0].dtype != DType::f32) return "not f32";
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
  if (const std::string reason = refuse_shape(problem, *conv); !reason.empty()) return reason;
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  const cpu::ConvProblem p = conv_problem(problem, *conv);
  if (const char* reason = algorithm(I).supports(p)) return reason;
  if (algorithm(I).error_bound == nullptr) return "";
  // Weights that are not known are those of an engine being loaded: judged when it was built.
  const bool judge = machine.winograd && problem.is_constant(1);
  return refuse_error(judge ? algorithm(I).error_bound(p, problem.constants[1].data<float>()) : 0, machine);
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
  algorithm(I).pack(p, tier, problem.constants[1].data<float>(), packed.mutable_raw());
  return packed_weights(packed, tier);
}

template <size_t I>
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::ConvProblem p = conv_problem(problem, *anchor->op.as<Conv>());
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed, [&](cpu::Tier tier) { return algorithm(I).packed_bytes(p, tier); }));
  cpu::ConvContext context{.tier = tier, .threads = machine.threads};
  const auto list = candidates(I, p, machine);
  if (static_cast<size_t>(variant) < list.size()) context.variant = list[static_cast<size_t>(variant)];
  return kernel(
      [p, context, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        const cpu::ConvArgs call{.in = args.inputs[0]->data<float>(),
                                 .packed = weights.raw(),
                                 .out = args.outputs[0]->mutable_data<float>(),
                                 .epilogue = epilogue_of(anchor, args),
                                 .workspace = args.workspace,
                                 .pool = &args.pool};
        algorithm(I).run(p, context, call);
        return {};
      },
      static_cast<int64_t>(algorithm(I).workspace_bytes(p, context)));
}

template <size_t I>
Tactic row(std::string_view name) {
  return {name, supports<I>, variants<I>, prepare<I>, make<I>, residual_in_place, drops_second};
}

}  // namespace

std::span<const Tactic> conv_tactics() {
  static const std::array<Tactic, kAlgorithms> kRows = {row<0>("cpu.conv_1x1"),
                                                        row<1>("cpu.conv_strassen"),
                                                        row<2>("cpu.conv_depthwise"),
                                                        row<3>("cpu.conv_winograd_f4"),
                                                        row<4>("cpu.conv_winograd_f2"),
                                                        row<5>("cpu.conv_winograd_s2_f4"),
                                                        row<6>("cpu.conv_winograd_s2_f2"),
                                                        row<7>("cpu.conv_dot"),
                                                        row<8>("cpu.conv_direct"),
                                                        row<9>("cpu.conv_grouped")};
  return kRows;
}

}  // namespace hone
