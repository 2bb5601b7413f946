#include "tactics/cuda/matmul.h"

#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace cuda {
namespace {

MatmulLayout layout_of(const Problem& problem, const MatMul& op) {
  const Dims a = dims_of(problem.inputs[0]), b = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const size_t ra = a.size(), rb = b.size();
  MatmulLayout l;
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
  l.gemm.type = problem.inputs[0].dtype;
  return l;
}

}  // namespace

std::string matmul_refusal(const Problem& problem) {
  const auto anchor = view_anchor(problem, MatMul::kName);
  if (!anchor) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const DType type = problem.inputs[0].dtype;
  if (sum_type(type) == nullptr) return fmt::format("{} elements", name(type));
  if (problem.inputs[1].dtype != type) return "operands of two types";
  if (anchor->prologue) return "its input is computed in place";
  if (problem.inputs[0].shape.rank() < 2 || problem.inputs[1].shape.rank() < 2) return "an operand is a vector";
  if (std::string reason = refuse_epilogue(problem); !reason.empty()) return reason;
  return refuse_gemm(layout_of(problem, *anchor->op.as<MatMul>()).gemm);
}

MatmulView matmul_view(const Problem& problem) {
  MatmulView view{*view_anchor(problem, MatMul::kName), {}, {}};
  view.op = *view.anchor.op.as<MatMul>();
  view.layout = layout_of(problem, view.op);
  return view;
}

}  // namespace cuda

namespace {

using View = cuda::MatmulView;
using Layout = cuda::MatmulLayout;
using cuda::matmul_view;

// B as [N][K]: packed from a constant, or as it lies when it is transposed.
bool packs_b(const Problem& problem) {
  return problem.inputs[1].shape.rank() == 2 && (problem.constants.empty() || problem.is_constant(1));
}

std::string parameters_of(const Problem& problem, const cuda::AnchorView& anchor, bool packed) {
  const char* type = cuda::element_type(problem.inputs[0].dtype);
  const std::string b = fmt::format(", const {}* __restrict__ b", type);
  return fmt::format("{}* __restrict__ y, const {}* __restrict__ a{}{}{}", cuda::element_type(problem.outputs[0].dtype),
                     type, packed ? "" : b, anchor.parameters, packed ? b : "");
}

std::vector<int64_t> columns_first(const View& view) {
  return view.op.trans_b ? std::vector<int64_t>{0, 1} : std::vector<int64_t>{1, 0};
}

cuda::Source finish(const Problem& problem, const View& view, cuda::Source source) {
  if (!packs_b(problem)) return source;
  source.drops = {false, true};
  source.packed = {cuda::permuted_for_tensor_cores(problem.constants[1], columns_first(view))};
  return source;
}

Result<cuda::Source> source(const Problem& problem) {
  const auto [anchor, op, l] = matmul_view(problem);
  const std::string functions =
      fmt::format(R"cuda(
struct Row {{ i64 at; }};
__device__ inline Row row_of(PARAMETERS, i64 z, int m) {{ return m < M ? Row{{({}) * ((i64)M * K) + {}}} : Row{{-1}}; }}
__device__ inline Sum load_a(PARAMETERS, Row row, int k) {{ return row.at < 0 ? Sum(0) : (Sum)a[row.at + {}]; }}
__device__ inline Sum load_b(PARAMETERS, i64 z, int k, int n) {{ return b[({}) * ((i64)N * K) + {}]; }}
)cuda",
                  cuda::broadcast_index(l.batch_a, l.batch, "z"), op.trans_a ? "m" : "(i64)m * K",
                  op.trans_a ? "(i64)k * M" : "k", cuda::broadcast_index(l.batch_b, l.batch, "z"),
                  op.trans_b ? "(i64)n * K + k" : "(i64)k * N + n") +
      anchor.store;
  return cuda::Source{cuda::gemm_source(l.gemm, parameters_of(problem, anchor, false), functions)};
}

cuda::Launch launch(const Problem& problem) { return cuda::gemm_launch(matmul_view(problem).layout.gemm); }

// Why rows of both operands do not lie in memory as they are summed, or empty.
std::string refuse_layout(const Problem& problem) {
  if (std::string reason = cuda::matmul_refusal(problem); !reason.empty()) return reason;
  const MatMul op = matmul_view(problem).op;
  if (op.trans_a) return "the left operand is transposed";
  if (!op.trans_b && !packs_b(problem)) return "the right operand is neither constant nor transposed";
  return {};
}

std::string supports_tensor_cores(const Problem& problem, const Machine& machine) {
  if (std::string reason = refuse_layout(problem); !reason.empty()) return reason;
  return cuda::refuse_tf32(problem.inputs[0].dtype, machine);
}

std::string supports_mma(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_tensor_cores(problem, machine); !reason.empty()) return reason;
  return cuda::refuse_mma(matmul_view(problem).layout.gemm);
}

// The functions of mma.cuh.
std::string pointers(const View& view) {
  const Layout& l = view.layout;
  return fmt::format(R"cuda(
struct Row {{ i64 at; }};
__device__ inline Row row_of(PARAMETERS, i64 z, int m) {{
  return m < M ? Row{{({}) * ((i64)M * K) + (i64)m * K}} : Row{{-1}};
}}
__device__ inline const A* a_at(PARAMETERS, Row row, int k) {{ return row.at < 0 ? nullptr : a + row.at + k; }}
__device__ inline const A* b_at(PARAMETERS, i64 z, int n, int k) {{ return b + ({}) * ((i64)N * K) + (i64)n * K + k; }}
)cuda",
                     cuda::broadcast_index(l.batch_a, l.batch, "z"), cuda::broadcast_index(l.batch_b, l.batch, "z")) +
         view.anchor.store;
}

Result<cuda::Source> mma_source(const Problem& problem, int variant) {
  const View view = matmul_view(problem);
  const bool packed = packs_b(problem);
  return finish(problem, view,
                {cuda::mma_source(view.layout.gemm, variant, {.b_rounded = packed},
                                  parameters_of(problem, view.anchor, packed), pointers(view))});
}

cuda::Launch mma_launch(const Problem& problem, int variant) {
  return cuda::mma_launch(matmul_view(problem).layout.gemm, variant);
}

std::string supports_simt(const Problem& problem) {
  if (std::string reason = refuse_layout(problem); !reason.empty()) return reason;
  return cuda::refuse_simt(matmul_view(problem).layout.gemm);
}

Result<cuda::Source> simt_source(const Problem& problem, int variant) {
  const View view = matmul_view(problem);
  const bool packed = packs_b(problem);
  cuda::Source source{
      cuda::simt_source(view.layout.gemm, variant, parameters_of(problem, view.anchor, packed), pointers(view))};
  if (!packed) return source;
  source.drops = {false, true};
  source.packed = {cuda::permuted(problem.constants[1], columns_first(view))};
  return source;
}

cuda::Launch simt_launch(const Problem& problem, int variant) {
  return cuda::simt_launch(matmul_view(problem).layout.gemm, variant);
}

cuda::WarpgroupProduct product_of(const Problem& problem) {
  const Layout l = matmul_view(problem).layout;
  return {.gemm = l.gemm,
          .b_constant = packs_b(problem),
          .b_batched = element_count(l.batch_b) > 1,
          .result = problem.outputs[0].dtype};
}

std::string supports_wgmma(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_tensor_cores(problem, machine); !reason.empty()) return reason;
  const Layout l = matmul_view(problem).layout;
  if (element_count(l.batch_a) != l.gemm.batch) return "the left operand is broadcast";
  if (const int64_t b = element_count(l.batch_b); b != 1 && b != l.gemm.batch) return "the right operand is broadcast";
  return cuda::refuse_wgmma(product_of(problem), machine);
}

int wgmma_variants(const Problem& problem, const Machine&) { return cuda::wgmma_variants(product_of(problem)); }

Result<cuda::Source> wgmma_source(const Problem& problem, int variant) {
  const View view = matmul_view(problem);
  const cuda::WarpgroupProduct product = product_of(problem);
  cuda::Source source = finish(
      problem, view,
      cuda::wgmma_source(product, variant, parameters_of(problem, view.anchor, packs_b(problem)), view.anchor.store));
  if (packs_b(problem)) source.packed[0] = cuda::wgmma_weights(product, source.packed[0]);
  return source;
}

cuda::Launch wgmma_launch(const Problem& problem, int variant) {
  const auto inputs = count_present(problem.inputs);
  return cuda::wgmma_launch(product_of(problem), variant, {.a = 1, .b = packs_b(problem) ? inputs : 2});
}

}  // namespace

std::span<const Tactic> cuda_matmul_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<supports_wgmma, wgmma_source, wgmma_launch, wgmma_variants>("cuda.matmul_wgmma"),
      cuda::row<supports_mma, mma_source, mma_launch, cuda::mma_variants>("cuda.matmul_mma", 1),
      cuda::row<supports_simt, simt_source, simt_launch, cuda::simt_variants>("cuda.matmul_simt", 1),
      cuda::row<cuda::matmul_refusal, source, launch>("cuda.matmul", 2)};
  return kRows;
}

}  // namespace hone
