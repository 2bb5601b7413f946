#include "kernels/cpu/gemm/fip.h"
#include "kernels/cpu/gemm/strassen.h"
#include "tactics/anchor.h"
#include "tactics/matmul_layout.h"

namespace hone {
namespace {

// Why no GEMM kernel can do it, or empty.
std::string refuse_problem(const Problem& problem, std::optional<Anchor>& anchor) {
  anchor = view_anchor(problem);
  if (!anchor || anchor->op.as<MatMul>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  for (const TensorType& t : problem.inputs)
    if (t.defined() && t.dtype != DType::f32) return "not f32";
  return matmul_layout(problem, *anchor->op.as<MatMul>()).refused;
}

// What is worth timing, the default first: what threads share out, and, for long sums, how much of one is made at once.
std::vector<cpu::DenseTuning> tunings(const cpu::GemmProblem& gemm, cpu::Tier, int threads) {
  constexpr int kLongSum = 384;  // the default makes all of a shorter one at once
  std::vector<cpu::DenseTuning> list{{}};
  for (const int k_block : {0, 512, 1 << 30})
    for (const int split : {1, 2})
      if (k_block == 0 ? threads > 1 : gemm.k > kLongSum && split <= threads)
        list.push_back({.split = split, .k_block = k_block});
  return list;
}

cpu::GemmContext context_of(const std::vector<cpu::DenseTuning>& list, cpu::Tier tier, int variant,
                            const Machine& machine) {
  return {.tier = tier, .threads = machine.threads, .tuning = list[static_cast<size_t>(variant) % list.size()]};
}

std::string supports_packed(const Problem& problem, const Machine&) {
  std::optional<Anchor> anchor;
  if (std::string reason = refuse_problem(problem, anchor); !reason.empty()) return reason;
  if (!problem.constants.empty() && !problem.is_constant(1)) return "the right operand is not constant";
  return matmul_layout(problem, *anchor->op.as<MatMul>()).gemm.batch > 1 ? "one right operand a batch item" : "";
}

// The rows of a batch item, which the first dim counts, stay among themselves; a matrix may have one in each row.
cpu::GemmProblem by_items(const Problem& problem, const cpu::GemmProblem& rows) {
  cpu::GemmProblem gemm = rows;
  gemm.batch = dims_of(problem.inputs[0])[0];
  gemm.m /= gemm.batch;
  return gemm;
}

template <bool FIP>
std::string supports_strassen(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_packed(problem, machine); !reason.empty()) return reason;
  if (FIP && tier_of(machine) < cpu::Tier::avx512) return kNeedsAvx512;
  const cpu::GemmProblem gemm = by_items(problem, matmul_layout(problem, *view_anchor(problem)->op.as<MatMul>()).gemm);
  if (const char* reason = cpu::refuse_strassen({gemm.batch, gemm.m, gemm.n, gemm.k})) return reason;
  return refuse_error(cpu::strassen_error(gemm.k, FIP), kErrorBound, machine);
}

std::string supports_fip(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_packed(problem, machine); !reason.empty()) return reason;
  const cpu::GemmProblem gemm = matmul_layout(problem, *view_anchor(problem)->op.as<MatMul>()).gemm;
  if (tier_of(machine) < cpu::Tier::avx512) return kNeedsAvx512;
  if (const char* reason = cpu::refuse_fip(gemm.m, gemm.k)) return reason;
  return refuse_error(cpu::fip_error(gemm.k), kErrorBound, machine);
}

// A way to multiply by a constant that was packed when the engine was built.
struct Packing {
  size_t (*bytes)(int64_t n, int64_t k, cpu::Tier tier);
  void (*pack)(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, cpu::Tier tier, float* packed);
  std::vector<cpu::DenseTuning> (*tunings)(const cpu::GemmProblem& gemm, cpu::Tier tier, int threads);
  cpu::GemmProblem (*view)(const Problem& problem, const cpu::GemmProblem& rows);
  size_t (*workspace_bytes)(const cpu::GemmProblem& gemm, const cpu::GemmContext& context);
  void (*run)(const cpu::GemmProblem& gemm, const cpu::GemmContext& context, const float* a, const float* packed,
              float* c, const cpu::Epilogue& epilogue, void* workspace, cpu::ThreadPool& pool);
};

constexpr Packing kPanels{cpu::gemm_packed_bytes,
                          cpu::gemm_pack,
                          tunings,
                          [](const Problem&, const cpu::GemmProblem& rows) { return rows; },
                          cpu::gemm_workspace_bytes,
                          cpu::gemm};
template <bool FIP>
constexpr Packing kStrassen{
    [](int64_t n, int64_t k, cpu::Tier tier) { return cpu::strassen_packed_bytes(n, k, tier, FIP); },
    [](const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, cpu::Tier tier, float* packed) {
      cpu::strassen_pack(b, ldb, transposed, n, k, tier, FIP, packed);
    },
    [](const cpu::GemmProblem& gemm, cpu::Tier tier, int threads) {
      return cpu::strassen_tunings({gemm.batch, gemm.m, gemm.n, gemm.k, FIP}, tier, threads);
    },
    by_items,
    cpu::gemm_strassen_workspace_bytes<FIP>,
    cpu::gemm_strassen<FIP>};
constexpr Packing kFip{cpu::fip_packed_bytes,
                       cpu::fip_pack,
                       [](const cpu::GemmProblem& gemm, cpu::Tier tier, int threads) {
                         return cpu::fip_tunings({.m = gemm.m, .n = gemm.n, .depth = gemm.k}, tier, threads);
                       },
                       kPanels.view,
                       cpu::gemm_fip_workspace_bytes,
                       cpu::gemm_fip};

template <const Packing& P>
int variants(const Problem& problem, const Machine& machine) {
  const cpu::GemmProblem gemm = matmul_layout(problem, *view_anchor(problem)->op.as<MatMul>()).gemm;
  return static_cast<int>(P.tunings(P.view(problem, gemm), tier_of(machine), machine.threads).size());
}

template <const Packing& P>
Result<Prepared> prepare_packed(const Problem& problem, int, const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const MatMulLayout l = matmul_layout(problem, *anchor->op.as<MatMul>());
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(P.bytes(l.gemm.n, l.gemm.k, tier))});
  P.pack(problem.constants[1].data<float>(), l.ldb, l.trans_b, l.gemm.n, l.gemm.k, tier, packed.mutable_data<float>());
  return packed_weights(packed, tier);
}

template <const Packing& P>
Result<std::unique_ptr<const Kernel>> make_packed(const Problem& problem, std::span<const Tensor> packed, int variant,
                                                  const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const cpu::GemmProblem gemm = P.view(problem, matmul_layout(problem, *anchor->op.as<MatMul>()).gemm);
  HONE_TRY(const cpu::Tier tier, check_packed(packed, [&](cpu::Tier tier) { return P.bytes(gemm.n, gemm.k, tier); }));
  const cpu::GemmContext context = context_of(P.tunings(gemm, tier, machine.threads), tier, variant, machine);
  return kernel(
      [gemm, context, weights = packed[0], anchor = *anchor](const KernelArgs& args) -> Status {
        P.run(gemm, context, args.inputs[0]->data<float>(), weights.data<float>(),
              args.outputs[0]->mutable_data<float>(), epilogue_of(anchor, args), args.workspace, args.pool);
        return {};
      },
      static_cast<int64_t>(P.workspace_bytes(gemm, context)));
}

std::string supports_unpacked(const Problem& problem, const Machine&) {
  std::optional<Anchor> anchor;
  return refuse_problem(problem, anchor);
}

Result<std::unique_ptr<const Kernel>> make_unpacked(const Problem& problem, std::span<const Tensor>, int variant,
                                                    const Machine& machine) {
  const auto anchor = view_anchor(problem);
  const MatMulLayout l = matmul_layout(problem, *anchor->op.as<MatMul>());
  const cpu::Tier tier = tier_of(machine);
  const cpu::GemmContext context = context_of(tunings(l.gemm, tier, machine.threads), tier, variant, machine);
  return kernel(
      [l, context, anchor = *anchor](const KernelArgs& args) -> Status {
        cpu::gemm_unpacked(l.gemm, context, args.inputs[0]->data<float>(),
                           {args.inputs[1]->data<float>(), l.ldb, l.trans_b}, args.outputs[0]->mutable_data<float>(),
                           epilogue_of(anchor, args), args.workspace, args.pool);
        return {};
      },
      static_cast<int64_t>(cpu::gemm_unpacked_workspace_bytes(l.gemm, context, l.trans_b)));
}

}  // namespace

std::span<const Tactic> matmul_tactics() {
  static constexpr Tactic kRows[] = {
      {"cpu.gemm_packed", supports_packed, variants<kPanels>, prepare_packed<kPanels>, make_packed<kPanels>,
       residual_in_place, drops_second},
      {"cpu.gemm_strassen", supports_strassen<false>, variants<kStrassen<false>>, prepare_packed<kStrassen<false>>,
       make_packed<kStrassen<false>>, residual_in_place, drops_second},
      {"cpu.gemm_fip", supports_fip, variants<kFip>, prepare_packed<kFip>, make_packed<kFip>, residual_in_place,
       drops_second},
      {"cpu.gemm_strassen_fip", supports_strassen<true>, variants<kStrassen<true>>, prepare_packed<kStrassen<true>>,
       make_packed<kStrassen<true>>, residual_in_place, drops_second},
      {"cpu.gemm", supports_unpacked, variants<kPanels>, nothing_to_prepare, make_unpacked, residual_in_place}};
  return kRows;
}

}  // namespace hone
