#include "ops/matmul_nbits.h"

#include "base/counted.h"
#include "kernels/cpu/nbits/nbits.h"
#include "ops/numbers.h"
#include "tactics/anchor.h"

namespace hone {
namespace {

// More rows than these are never faster unpacked in registers, once for every few of them.
constexpr int64_t kFewRows = 64;

cpu::NBitsProblem geometry(const Problem& problem, const MatMulNBits& op) {
  const Dims a = dims_of(problem.inputs[0]);
  return {.m = element_count(a) / std::max<int64_t>(a.back(), 1),
          .n = problem.inputs[1].shape.dims[0].value,
          .k = a.back(),
          .bits = static_cast<int>(op.bits),
          .block = op.block};
}

// Why no kernel can do it, or empty.
std::string refuse(const Problem& problem) {
  const auto anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<MatMulNBits>() == nullptr) return kAnotherOp;
  if (std::string reason = refuse_unless_fixed_f32(problem); !reason.empty()) return reason;
  for (size_t i = 4; i < problem.inputs.size(); ++i)
    if (problem.inputs[i].defined() && problem.inputs[i].dtype != DType::f32) return "a bias or a residual is not f32";
  for (size_t i = 1; i < 4 && !problem.constants.empty(); ++i)
    if (!problem.is_constant(i)) return "weights are not constant";
  return element_count(dims_of(problem.inputs[0])) == 0 || element_count(dims_of(problem.outputs[0])) == 0 ? "empty"
                                                                                                           : "";
}

std::string supports_rows(const Problem& problem, const Machine&) {
  if (std::string reason = refuse(problem); !reason.empty()) return reason;
  const int64_t m = geometry(problem, *view_anchor(problem)->op.as<MatMulNBits>()).m;
  return m > kFewRows ? fmt::format("{} are more than {}", counted(m, "row"), kFewRows) : "";
}

std::string supports_panels(const Problem& problem, const Machine&) { return refuse(problem); }

// Rows: one way. Panels: how threads share them out.
int panel_variants(const Problem&, const Machine& machine) { return machine.threads > 1 ? 3 : 1; }

// Packed: the weights, the tier, and whether all zero points are in the middle.
Result<Prepared> prepare(const Problem& problem, int, const Machine& machine) {
  cpu::NBitsProblem p = geometry(problem, *view_anchor(problem)->op.as<MatMulNBits>());
  const std::vector<float> zeros = numbers_of<float>(problem.constants[3]);
  p.centred = std::all_of(zeros.begin(), zeros.end(),
                          [middle = static_cast<float>(1 << (p.bits - 1))](float z) { return z == middle; });
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::nbits_packed_bytes(p, tier))});
  cpu::nbits_pack(p, {problem.constants[1].data<uint8_t>(), problem.constants[2].data<float>(), zeros.data()}, tier,
                  packed.mutable_raw());
  Prepared prepared = packed_weights(packed, tier);
  prepared.packed.push_back(Tensor::scalar(int64_t{p.centred}));
  prepared.drops = {false, true, true, true};
  return prepared;
}

bool drops(size_t input, std::span<const Tensor>) { return input >= 1 && input <= 3; }

// The problem that weights were packed for, and their tier.
struct Packed {
  cpu::NBitsProblem p;
  cpu::Tier tier;
};

Result<Packed> packed_for(const Problem& problem, const Anchor& anchor, std::span<const Tensor> packed) {
  if (packed.size() != 3 || packed[2].count() != 1) return invalid("packed weights are missing");
  Packed result{.p = geometry(problem, *anchor.op.as<MatMulNBits>())};
  result.p.centred = packed[2].int_at(0) != 0;
  HONE_TRY(result.tier,
           check_packed(packed.first(2), [&](cpu::Tier t) { return cpu::nbits_packed_bytes(result.p, t); }));
  return result;
}

Result<std::unique_ptr<const Kernel>> make_rows(const Problem& problem, std::span<const Tensor> packed, int,
                                                const Machine&) {
  const auto anchor = view_anchor(problem);
  HONE_TRY(const Packed how, packed_for(problem, *anchor, packed));
  return kernel([how, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
    cpu::nbits_rows(how.p, how.tier, args.inputs[0]->data<float>(), weights.raw(),
                    args.outputs[0]->mutable_data<float>(), epilogue_of(anchor, args), args.pool);
    return {};
  });
}

Result<std::unique_ptr<const Kernel>> make_panels(const Problem& problem, std::span<const Tensor> packed, int variant,
                                                  const Machine& machine) {
  const auto anchor = view_anchor(problem);
  HONE_TRY(const Packed how, packed_for(problem, *anchor, packed));
  const cpu::GemmContext context{.tier = how.tier, .threads = machine.threads, .tuning = {.split = variant % 3}};
  return kernel(
      [how, context, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::nbits_panels(how.p, context, args.inputs[0]->data<float>(), weights.raw(),
                          args.outputs[0]->mutable_data<float>(), epilogue_of(anchor, args), args.workspace, args.pool);
        return {};
      },
      static_cast<int64_t>(cpu::nbits_panels_workspace_bytes(how.p, context)));
}

}  // namespace

std::span<const Tactic> matmul_nbits_tactics() {
  static constexpr Tactic kRows[] = {
      {"cpu.gemm_nbits_rows", supports_rows, one_variant, prepare, make_rows, residual_in_place, drops},
      {"cpu.gemm_nbits_panels", supports_panels, panel_variants, prepare, make_panels, residual_in_place, drops}};
  return kRows;
}

}  // namespace hone
