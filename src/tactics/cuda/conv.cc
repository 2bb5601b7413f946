// Convolutions of one group as products of the image's patches and the weights.
#include "tactics/cuda/conv.h"

#include "ops/elements.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

// Rows of the product are output pixels; those behind the last lie outside of the image.
constexpr const char* kRowOf = R"cuda(
struct Row { int n, h, w; };
__device__ inline Row row_of(PARAMETERS, i64, int m) {
  if (m >= M) return {0, -(1 << 29), 0};
  return {m / (OH * OW), m / OW % OH * STRIDE_H - PAD_TOP, m % OW * STRIDE_W - PAD_LEFT};
})cuda";

// Single elements of A. k counts channels first, then columns, then rows of the filter.
std::string element_a(const cuda::AnchorView& anchor, const cuda::ConvGeometry& g) {
  return kRowOf + fmt::format(R"cuda(
__device__ inline float element_a(PARAMETERS, Row row, int k) {{
  const int h = row.h + k / {0} / KW * DILATION_H, w_ = row.w + k / {0} % KW * DILATION_W;
  if (h < 0 || h >= H || w_ < 0 || w_ >= W || k >= {1}) return 0;
  const int n = row.n, c = k % {0};
{2}  return value;
}}
)cuda",
                              g.cin, g.kh * g.kw * g.cin, cuda::image_value(anchor));
}

std::string supports_dense(const Problem& problem) { return cuda::conv_refusal(problem, false); }

Result<cuda::Source> dense_source(const Problem& problem) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const std::string functions = g.defines() + element_a(anchor, g) + R"cuda(
__device__ inline Sum load_a(PARAMETERS, Row row, int k) { return element_a(ARGUMENTS, row, k); }
__device__ inline Sum load_b(PARAMETERS, i64, int k, int n) { return w[(i64)k * N + n]; }
)cuda" + anchor.store;
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights({cuda::gemm_source(g.gemm(), cuda::conv_parameters(problem, anchor), functions)},
                            cuda::permuted(weights, cuda::outputs_last(weights)));
}

cuda::Launch dense_launch(const Problem& problem) { return cuda::gemm_launch(cuda::conv_geometry(problem).gemm()); }

std::string supports_mma(const Problem& problem, const Machine& machine) {
  std::string reason = cuda::wide_refusal(problem, machine);
  return reason.empty() ? cuda::refuse_mma(cuda::conv_geometry(problem).gemm()) : reason;
}

// The functions of mma.cuh.
std::string pointers(const Problem& problem) {
  return cuda::conv_geometry(problem).defines() + kRowOf + R"cuda(
__device__ inline const A* a_at(PARAMETERS, Row row, int k) {
  const int h = row.h + k / CIN / KW * DILATION_H, w_ = row.w + k / CIN % KW * DILATION_W;
  return h < 0 || h >= H || w_ < 0 || w_ >= W ? nullptr : x + (((i64)row.n * H + h) * W + w_) * CIN + k % CIN;
}
__device__ inline const A* b_at(PARAMETERS, i64, int n, int k) { return w + (i64)n * K + k; }
)cuda" + cuda::conv_anchor(problem).store;
}

Result<cuda::Source> mma_source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::Gemm gemm = cuda::conv_geometry(problem).gemm();
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(
      {cuda::mma_source(gemm, variant, {.b_rounded = true}, cuda::conv_parameters(problem, anchor), pointers(problem))},
      cuda::permuted_for_tensor_cores(weights, cuda::outputs_first(weights)));
}

cuda::Launch mma_launch(const Problem& problem, int variant) {
  return cuda::mma_launch(cuda::conv_geometry(problem).gemm(), variant);
}

std::string supports_simt(const Problem& problem) {
  std::string reason = cuda::wide_refusal(problem);
  return reason.empty() ? cuda::refuse_simt(cuda::conv_geometry(problem).gemm()) : reason;
}

Result<cuda::Source> simt_source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights({cuda::simt_source(cuda::conv_geometry(problem).gemm(), variant,
                                               cuda::conv_parameters(problem, anchor), pointers(problem))},
                            cuda::permuted(weights, cuda::outputs_first(weights)));
}

cuda::Launch simt_launch(const Problem& problem, int variant) {
  return cuda::simt_launch(cuda::conv_geometry(problem).gemm(), variant);
}

// A filter's values as rows of whole 16 bytes, so that those of A are gathered into the like.
cuda::Gemm gathered_gemm(const Problem& problem) {
  cuda::Gemm gemm = cuda::conv_geometry(problem).gemm();
  const auto step = static_cast<int64_t>(16 / size_of(gemm.type));
  gemm.k = cuda::blocks(gemm.k, step) * step;
  return gemm;
}

std::string supports_gathered(const Problem& problem, const Machine& machine) {
  if (std::string reason = cuda::conv_refusal(problem, false); !reason.empty()) return reason;
  if (cuda::wide_refusal(problem, machine).empty()) return "its pixels are multiples of 16 bytes";
  if (std::string reason = cuda::refuse_tf32(cuda::conv_geometry(problem).type, machine); !reason.empty())
    return reason;
  return cuda::refuse_mma(gathered_gemm(problem));
}

Tensor padded_rows(const Tensor& weights, int64_t rows, int64_t k) {
  Tensor padded(weights.type(), {rows, k});
  const int64_t own = weights.count() / rows;
  for (int64_t r = 0; r < rows; ++r) copy_elements(weights, r * own, padded, r * k, own);
  return padded;
}

Result<cuda::Source> gathered_source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const cuda::Gemm gemm = gathered_gemm(problem);
  const std::string functions = g.defines() + element_a(anchor, g) + R"cuda(
__device__ inline const A* b_at(PARAMETERS, i64, int n, int k) { return w + (i64)n * K + k; }
)cuda" + anchor.store;
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(
      {cuda::mma_source(gemm, variant, {.b_rounded = true, .gathered = true}, cuda::conv_parameters(problem, anchor),
                        functions)},
      padded_rows(cuda::permuted_for_tensor_cores(weights, cuda::outputs_first(weights)), gemm.n, gemm.k));
}

cuda::Launch gathered_launch(const Problem& problem, int variant) {
  return cuda::mma_launch(gathered_gemm(problem), variant);
}

std::string supports_wgmma(const Problem& problem, const Machine& machine) {
  std::string reason = cuda::wide_refusal(problem, machine);
  return reason.empty() ? cuda::refuse_wgmma(cuda::conv_product(problem), machine) : reason;
}

int wgmma_variants(const Problem& problem, const Machine&) { return cuda::wgmma_variants(cuda::conv_product(problem)); }

Result<cuda::Source> wgmma_source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::WarpgroupProduct product = cuda::conv_product(problem);
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(
      cuda::wgmma_source(product, variant, cuda::conv_parameters(problem, anchor), anchor.store),
      cuda::wgmma_weights(product, cuda::permuted_for_tensor_cores(weights, cuda::outputs_first(weights))));
}

cuda::Launch wgmma_launch(const Problem& problem, int variant) {
  const auto inputs = count_present(problem.inputs);
  return cuda::wgmma_launch(cuda::conv_product(problem), variant, {.a = 1, .b = inputs});
}

}  // namespace

std::span<const Tactic> cuda_conv_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<supports_wgmma, wgmma_source, wgmma_launch, wgmma_variants>("cuda.conv_wgmma"),
      cuda::row<supports_mma, mma_source, mma_launch, cuda::mma_variants>("cuda.conv_mma", 1),
      cuda::row<supports_gathered, gathered_source, gathered_launch, cuda::mma_variants>("cuda.conv_gathered_mma", 1),
      cuda::row<supports_simt, simt_source, simt_launch, cuda::simt_variants>("cuda.conv_simt", 1),
      cuda::row<supports_dense, dense_source, dense_launch>("cuda.conv", 2)};
  return kRows;
}

}  // namespace hone
