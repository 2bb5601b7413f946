#include "ops/matmul.h"

#include "kernels/cpu/gemm/gemm.h"
#include "kernels/cpu/gemm/strassen.h"
#include "tactics/anchor.h"

namespace hone {
namespace {

// The product as a strided batch of row-major GEMMs.
struct Layout {
  cpu::GemmProblem gemm;
  int64_t ldb = 0;
  bool trans_b = false;
  std::string refused;
};

Layout refuse(std::string reason) { return {.refused = std::move(reason)}; }

Layout layout_of(const Problem& problem, const MatMul& op) {
  const Dims a = dims_of(problem.inputs[0]), b = dims_of(problem.inputs[1]);
  if (a.size() < 2 || b.size() < 2) return refuse("an operand is a vector");
  if (op.trans_a) return refuse("the left operand is transposed");
  const Dims batch_a(a.begin(), a.end() - 2), batch_b(b.begin(), b.end() - 2);
  const int64_t count_a = element_count(batch_a), count_b = element_count(batch_b);
  Layout l;
  l.trans_b = op.trans_b;
  l.gemm.m = a[a.size() - 2];
  l.gemm.k = a.back();
  l.gemm.n = op.trans_b ? b[b.size() - 2] : b.back();
  l.ldb = b.back();
  if (l.gemm.m == 0 || l.gemm.n == 0 || l.gemm.k == 0 || count_a == 0 || count_b == 0) return refuse("empty");
  if (count_b == 1) {
    l.gemm.m *= count_a;  // one B for all rows
    return l;
  }
  if (batch_a != batch_b) return refuse("batch dims differ");
  l.gemm.batch = count_a;
  l.gemm.stride_a = l.gemm.m * l.gemm.k;
  l.gemm.stride_b = l.gemm.k * l.gemm.n;
  l.gemm.stride_c = l.gemm.m * l.gemm.n;
  return l;
}

// Why no GEMM kernel can do it, or empty.
std::string refuse_problem(const Problem& problem, std::optional<Anchor>& anchor) {
  anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<MatMul>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  for (const TensorType& t : problem.inputs)
    if (t.defined() && t.dtype != DType::f32) return "not f32";
  return layout_of(problem, *anchor->op.as<MatMul>()).refused;
}

// What is worth timing, the default first: what threads share out, and, for long sums, how much of one is made at once.
std::vector<cpu::DenseTuning> tunings(const cpu::GemmProblem& gemm, const Machine& machine) {
  constexpr int kLongSum = 384;  // the default makes all of a shorter one at once
  std::vector<cpu::DenseTuning> list{{}};
  for (const int k_block : {0, 512, 1 << 30})
    for (const int split : {1, 2})
      if (k_block == 0 ? machine.threads > 1 : gemm.k > kLongSum && split <= machine.threads)
        list.push_back({.split = split, .k_block = k_block});
  return list;
}

int variants(const Problem& problem, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  return static_cast<int>(tunings(layout_of(problem, *anchor->op.as<MatMul>()).gemm, machine).size());
}

cpu::GemmContext context_of(const cpu::GemmProblem& gemm, cpu::Tier tier, int variant, const Machine& machine) {
  const auto list = tunings(gemm, machine);
  return {.tier = tier, .threads = machine.threads, .tuning = list[static_cast<size_t>(variant) % list.size()]};
}

std::string supports_packed(const Problem& problem, const Machine&) {
  std::optional<Anchor> anchor;
  if (std::string reason = refuse_problem(problem, anchor); !reason.empty()) return reason;
  if (!problem.constants.empty() && !problem.is_constant(1)) return "the right operand is not constant";
  return layout_of(problem, *anchor->op.as<MatMul>()).gemm.batch > 1 ? "one right operand a batch item" : "";
}

Result<Prepared> prepare_packed(const Problem& problem, int, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const Layout l = layout_of(problem, *anchor->op.as<MatMul>());
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::gemm_packed_bytes(l.gemm.n, l.gemm.k, tier))});
  cpu::gemm_pack(problem.constants[1].data<float>(), l.ldb, l.trans_b, l.gemm.n, l.gemm.k, tier,
                 packed.mutable_data<float>());
  return packed_weights(packed, tier);
}

Result<std::unique_ptr<const Kernel>> make_packed(const Problem& problem, std::span<const Tensor> packed, int variant,
                                                  const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const Layout l = layout_of(problem, *anchor->op.as<MatMul>());
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed, [&](cpu::Tier tier) { return cpu::gemm_packed_bytes(l.gemm.n, l.gemm.k, tier); }));
  const cpu::GemmContext context = context_of(l.gemm, tier, variant, machine);
  return kernel(
      [gemm = l.gemm, context, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::gemm(gemm, context, args.inputs[0]->data<float>(), weights.data<float>(),
                  args.outputs[0]->mutable_data<float>(), epilogue_of(anchor, args), args.workspace, args.pool);
        return {};
      },
      static_cast<int64_t>(cpu::gemm_workspace_bytes(l.gemm, context)));
}

std::string supports_strassen(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_packed(problem, machine); !reason.empty()) return reason;
  const cpu::GemmProblem gemm = layout_of(problem, *view_anchor(problem)->op.as<MatMul>()).gemm;
  if (const char* reason = cpu::refuse_strassen({.m = gemm.m, .n = gemm.n, .depth = gemm.k})) return reason;
  return refuse_error(cpu::strassen_error(gemm.k), machine);
}

int strassen_variants(const Problem&, const Machine& machine) {
  return static_cast<int>(cpu::strassen_tunings(tier_of(machine), machine.threads).size());
}

Result<Prepared> prepare_strassen(const Problem& problem, int, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const Layout l = layout_of(problem, *anchor->op.as<MatMul>());
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::strassen_packed_bytes(l.gemm.n, l.gemm.k, tier))});
  cpu::strassen_pack(problem.constants[1].data<float>(), l.ldb, l.trans_b, l.gemm.n, l.gemm.k, tier,
                     packed.mutable_data<float>());
  return packed_weights(packed, tier);
}

Result<std::unique_ptr<const Kernel>> make_strassen(const Problem& problem, std::span<const Tensor> packed, int variant,
                                                    const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const Layout l = layout_of(problem, *anchor->op.as<MatMul>());
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed, [&](cpu::Tier tier) { return cpu::strassen_packed_bytes(l.gemm.n, l.gemm.k, tier); }));
  const auto list = cpu::strassen_tunings(tier, machine.threads);
  const cpu::GemmContext context{
      .tier = tier, .threads = machine.threads, .tuning = list[static_cast<size_t>(variant) % list.size()]};
  return kernel(
      [gemm = l.gemm, context, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::gemm_strassen(gemm, context, args.inputs[0]->data<float>(), weights.data<float>(),
                           args.outputs[0]->mutable_data<float>(), epilogue_of(anchor, args), args.workspace,
                           args.pool);
        return {};
      },
      static_cast<int64_t>(cpu::gemm_strassen_workspace_bytes(l.gemm, context)));
}

std::string supports_unpacked(const Problem& problem, const Machine&) {
  std::optional<Anchor> anchor;
  return refuse_problem(problem, anchor);
}

Result<std::unique_ptr<const Kernel>> make_unpacked(const Problem& problem, std::span<const Tensor>, int variant,
                                                    const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const Layout l = layout_of(problem, *anchor->op.as<MatMul>());
  const cpu::GemmContext context = context_of(l.gemm, tier_of(machine), variant, machine);
  return kernel(
      [l, context, anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::gemm_unpacked(l.gemm, context, args.inputs[0]->data<float>(), args.inputs[1]->data<float>(), l.ldb,
                           l.trans_b, args.outputs[0]->mutable_data<float>(), epilogue_of(anchor, args), args.workspace,
                           args.pool);
        return {};
      },
      static_cast<int64_t>(cpu::gemm_unpacked_workspace_bytes(l.gemm, context, l.trans_b)));
}

}  // namespace

std::span<const Tactic> matmul_tactics() {
  static constexpr Tactic kRows[] = {
      {"cpu.gemm_packed", supports_packed, variants, prepare_packed, make_packed, residual_in_place, drops_second},
      {"cpu.gemm_strassen", supports_strassen, strassen_variants, prepare_strassen, make_strassen, residual_in_place,
       drops_second},
      {"cpu.gemm", supports_unpacked, variants, nothing_to_prepare, make_unpacked, residual_in_place}};
  return kRows;
}

}  // namespace hone
