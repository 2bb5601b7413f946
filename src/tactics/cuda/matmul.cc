#include "ops/matmul.h"

#include "tactics/cuda/epilogue.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

struct Layout {
  cuda::Gemm gemm;
  Dims batch, batch_a, batch_b;
};

Layout layout_of(const Problem& problem, const MatMul& op) {
  const Dims a = dims_of(problem.inputs[0]), b = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const size_t ra = a.size(), rb = b.size();
  Layout l;
  l.gemm.m = a[ra - (op.trans_a ? 1 : 2)];
  l.gemm.k = a[ra - (op.trans_a ? 2 : 1)];
  l.gemm.n = b[rb - (op.trans_b ? 2 : 1)];
  l.batch = Dims(y.begin(), y.end() - 2);
  l.batch_a = Dims(a.begin(), a.end() - 2);
  l.batch_b = Dims(b.begin(), b.end() - 2);
  if (element_count(l.batch_b) == 1 && !op.trans_a) {
    l.gemm.m *= element_count(l.batch);  // one B for all rows
    l.batch = l.batch_a = l.batch_b = {};
  }
  l.gemm.batch = element_count(l.batch);
  return l;
}

std::string supports(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, MatMul::kName);
  if (!anchor) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  for (size_t i = 0; i < anchor->inputs; ++i)
    if (has(problem, i) && problem.inputs[i].dtype != DType::f32) return "not f32";
  if (problem.inputs[0].shape.rank() < 2 || problem.inputs[1].shape.rank() < 2) return "an operand is a vector";
  if (std::string reason = cuda::refuse_epilogue(problem); !reason.empty()) return reason;
  return cuda::refuse_gemm(layout_of(problem, *anchor->op.as<MatMul>()).gemm);
}

Result<cuda::Source> source(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, MatMul::kName);
  const MatMul& op = *anchor->op.as<MatMul>();
  const Layout l = layout_of(problem, op);
  const bool bias = anchor->inputs > 2 && has(problem, 2);
  const std::string parameters = fmt::format("float* __restrict__ y, const float* __restrict__ a, const float* __restrict__ b{}{}",
                                             bias ? ", const float* bias" : "", anchor->parameters);
  const std::string functions = fmt::format(R"cuda(
struct Row {{ i64 at; }};
__device__ inline Row row_of(i64 z, int m) {{ return m < M ? Row{{({}) * ((i64)M * K) + {}}} : Row{{-1}}; }}
__device__ inline float load_a(PARAMETERS, Row row, int k) {{ return row.at < 0 ? 0.0f : a[row.at + {}]; }}
__device__ inline float load_b(PARAMETERS, i64 z, int k, int n) {{ return b[({}) * ((i64)N * K) + {}]; }}
__device__ inline void store(PARAMETERS, i64 z, int m, int n, float acc) {{
  const i64 index = (z * M + m) * N + n;
  {}{}  y[index] = result;
}}
)cuda", cuda::broadcast_index(l.batch_a, l.batch, "z"), op.trans_a ? "m" : "(i64)m * K", op.trans_a ? "(i64)k * M" : "k",
      cuda::broadcast_index(l.batch_b, l.batch, "z"), op.trans_b ? "(i64)n * K + k" : "(i64)k * N + n",
      bias ? "acc += bias[n];\n  " : "", anchor->epilogue);
  return cuda::Source{cuda::gemm_source(l.gemm, parameters, functions)};
}

cuda::Launch launch(const Problem& problem) {
  return cuda::gemm_launch(layout_of(problem, *cuda::view_anchor(problem, MatMul::kName)->op.as<MatMul>()).gemm);
}

// B as [N][K]: packed from a constant, or as it lies when it is transposed.
bool packs_b(const Problem& problem) { return problem.inputs[1].shape.rank() == 2 && (problem.constants.empty() || problem.is_constant(1)); }

std::string supports_tf32(const Problem& problem) {
  if (std::string reason = supports(problem); !reason.empty()) return reason;
  const MatMul op = *cuda::view_anchor(problem, MatMul::kName)->op.as<MatMul>();
  if (op.trans_a) return "the left operand is transposed";
  if (!op.trans_b && !packs_b(problem)) return "the right operand is neither constant nor transposed";
  return cuda::refuse_mma(layout_of(problem, op).gemm);
}

Tensor pack_tf32(const Tensor& b, bool trans_b, const cuda::Gemm& gemm) {
  Tensor packed(DType::f32, {gemm.n, gemm.k});
  const float* from = b.data<float>();
  auto* to = packed.mutable_data<float>();
  for (int64_t n = 0; n < gemm.n; ++n)
    for (int64_t k = 0; k < gemm.k; ++k) to[n * gemm.k + k] = cuda::round_to_tf32(from[trans_b ? n * gemm.k + k : k * gemm.n + n]);
  return packed;
}

Result<cuda::Source> tf32_source(const Problem& problem, int variant) {
  const auto anchor = cuda::view_anchor(problem, MatMul::kName);
  const MatMul& op = *anchor->op.as<MatMul>();
  const Layout l = layout_of(problem, op);
  const bool bias = anchor->inputs > 2 && has(problem, 2), packs = packs_b(problem);
  const std::string parameters = fmt::format("float* __restrict__ y, const float* __restrict__ a{}{}{}{}", packs ? "" : ", const float* __restrict__ b",
                                             bias ? ", const float* bias" : "", anchor->parameters, packs ? ", const float* __restrict__ b" : "");
  const std::string functions = fmt::format(R"cuda(
struct Row {{ i64 at; }};
__device__ inline Row row_of(i64 z, int m) {{ return m < M ? Row{{({}) * ((i64)M * K) + (i64)m * K}} : Row{{-1}}; }}
__device__ inline const float* a_at(PARAMETERS, Row row, int k) {{ return row.at < 0 ? nullptr : a + row.at + k; }}
__device__ inline const float* b_at(PARAMETERS, i64 z, int n, int k) {{ return b + ({}) * ((i64)N * K) + (i64)n * K + k; }}
__device__ inline void store(PARAMETERS, i64 z, int m, int n, float acc) {{
  const i64 index = (z * M + m) * N + n;
  {}{}  y[index] = result;
}}
)cuda", cuda::broadcast_index(l.batch_a, l.batch, "z"), cuda::broadcast_index(l.batch_b, l.batch, "z"), bias ? "acc += bias[n];\n  " : "", anchor->epilogue);
  cuda::Source source{.text = cuda::mma_source(l.gemm, variant, packs, parameters, functions)};
  if (packs) {
    source.drops = {false, true};
    source.packed = {pack_tf32(problem.constants[1], op.trans_b, l.gemm)};
  }
  return source;
}

cuda::Launch tf32_launch(const Problem& problem, int variant) {
  return cuda::mma_launch(layout_of(problem, *cuda::view_anchor(problem, MatMul::kName)->op.as<MatMul>()).gemm, variant);
}

}  // namespace

std::span<const Tactic> cuda_matmul_tactics() {
  static constexpr Tactic kRows[] = {cuda::tf32_row<supports_tf32, tf32_source, tf32_launch, cuda::mma_variants>("cuda.matmul_tf32"),
                                     cuda::row<supports, source, launch>("cuda.matmul")};
  return kRows;
}

}  // namespace hone
