#include "ops/conv.h"

#include <algorithm>

#include "ops/elements.h"
#include "tactics/cuda/epilogue.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

// Two spatial dims; a 1-D image has height 1.
struct Geometry {
  int64_t n, h, w, cin, oh, ow, cout, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, groups;

  DType type;

  cuda::Gemm gemm() const { return {.m = n * oh * ow, .n = cout, .k = kh * kw * cin, .type = type}; }
  // Whether a row of the product is a pixel of the image.
  bool pointwise() const { return kh * kw == 1 && oh == h && ow == w && stride_h == 1 && stride_w == 1 && pad_top == 0 && pad_left == 0; }
  // The names that the kernels use.
  std::string defines() const {
    return fmt::format("#define H {}\n#define W {}\n#define CIN {}\n#define OH {}\n#define OW {}\n#define COUT {}\n#define KH {}\n#define KW {}\n"
                       "#define STRIDE_H {}\n#define STRIDE_W {}\n#define DILATION_H {}\n#define DILATION_W {}\n#define PAD_TOP {}\n#define PAD_LEFT {}\n",
                       h, w, cin, oh, ow, cout, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left);
  }
};

Geometry geometry(const Problem& problem, const cuda::AnchorView& anchor) {
  const Conv& conv = *anchor.op.as<Conv>();
  Dims x = dims_of(anchor.data), w = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const bool flat = x.size() == 3;
  if (flat) {
    x.insert(x.begin() + 1, 1);
    w.insert(w.begin() + 2, 1);
    y.insert(y.begin() + 1, 1);
  }
  const auto first = [&](const std::vector<int64_t>& list, int64_t one) { return flat ? one : list[0]; };
  const auto second = [&](const std::vector<int64_t>& list) { return list[flat ? 0 : 1]; };
  return {x[0], x[1], x[2], x[3], y[1], y[2], w[0], w[2], w[3], first(conv.strides, 1), second(conv.strides),
          first(conv.dilations, 1), second(conv.dilations), first(conv.pads, 0), second(conv.pads), conv.groups, anchor.data.dtype};
}

std::string supports_any(const Problem& problem, bool grouped) {
  const auto anchor = cuda::view_anchor(problem, Conv::kName);
  if (!anchor) return kAnotherOp;
  const Conv& conv = *anchor->op.as<Conv>();
  if (!problem.is_static()) return "shapes are not fixed";
  if (!cuda::is_real_element(anchor->data.dtype)) return fmt::format("{} elements", name(anchor->data.dtype));
  if (problem.inputs[1].dtype != anchor->data.dtype) return "weights of another type";
  if (!conv.channels_last) return "activations are not channels-last";
  if (const int64_t rank = anchor->data.shape.rank(); rank != 3 && rank != 4) return "neither 1-D nor 2-D";
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  if ((conv.groups > 1) != grouped) return grouped ? "one group" : "grouped";
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  if (std::string reason = cuda::refuse_epilogue(problem); !reason.empty()) return reason;
  if (grouped) return anchor->prologue ? "its input is computed in place" : "";
  return cuda::refuse_gemm(geometry(problem, *anchor).gemm());
}

std::string supports_dense(const Problem& problem) { return supports_any(problem, false); }
std::string supports_grouped(const Problem& problem) { return supports_any(problem, true); }

// Of kernels that read 16 bytes of a pixel at once.
std::string supports_wide(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_any(problem, false); !reason.empty()) return reason;
  const auto anchor = *cuda::view_anchor(problem, Conv::kName);
  if (anchor.prologue) return "its input is computed in place";
  if (geometry(problem, anchor).cin * static_cast<int64_t>(size_of(anchor.data.dtype)) % 16 != 0) return "a pixel's channels are not a multiple of 16 bytes";
  return cuda::refuse_tf32(problem, machine);
}

// Weights come as [O][I][KH][KW], or [O][I][KW].
std::vector<int64_t> outputs_last(const Tensor& weights) { return weights.rank() == 3 ? std::vector<int64_t>{2, 1, 0} : std::vector<int64_t>{2, 3, 1, 0}; }
std::vector<int64_t> outputs_first(const Tensor& weights) { return weights.rank() == 3 ? std::vector<int64_t>{0, 2, 1} : std::vector<int64_t>{0, 2, 3, 1}; }

std::string parameters_of(const Problem& problem, const cuda::AnchorView& anchor) {
  return fmt::format("{}* __restrict__ y, const {}* __restrict__ x{}, const {}* __restrict__ w",
                     cuda::element_type(problem.outputs[0].dtype), cuda::element_type(problem.inputs[0].dtype), anchor.parameters,
                     cuda::element_type(problem.inputs[1].dtype));
}

cuda::AnchorView anchor_of(const Problem& problem) { return *cuda::view_anchor(problem, Conv::kName); }
Geometry geometry_of(const Problem& problem) { return geometry(problem, anchor_of(problem)); }

// `packed` keeps the weights in a kernel's own order instead.
cuda::Source finish(cuda::Source source, Tensor packed) {
  source.drops = {false, true};
  source.packed = {std::move(packed)};
  return source;
}

// Rows of the product are output pixels; those behind the last lie outside of the image.
constexpr const char* kRowOf = R"cuda(
struct Row { int n, h, w; };
__device__ inline Row row_of(i64, int m) {
  if (m >= M) return {0, -(1 << 29), 0};
  return {m / (OH * OW), m / OW % OH * STRIDE_H - PAD_TOP, m % OW * STRIDE_W - PAD_LEFT};
})cuda";

// Single elements of A, from wherever a prologue takes them. k counts channels first, then columns, then rows of the filter.
std::string element_a(const cuda::AnchorView& anchor, const Geometry& g) {
  Dims strides = anchor.prologue ? anchor.strides : strides_of(dims_of(anchor.data));
  if (strides.size() == 3) strides.insert(strides.begin() + 1, 0);
  return kRowOf + fmt::format(R"cuda(
__device__ inline float element_a(PARAMETERS, Row row, int k) {{
  const int h = row.h + k / {0} / KW * DILATION_H, w_ = row.w + k / {0} % KW * DILATION_W;
  if (h < 0 || h >= H || w_ < 0 || w_ >= W || k >= {1}) return 0;
  const auto raw = x[(i64)row.n * {2} + (i64)h * {3} + (i64)w_ * {4} + (i64)(k % {0}) * {5}];
{6}  return value;
}}
)cuda", g.cin, g.kh * g.kw * g.cin, strides[0], strides[1], strides[2], strides[3], anchor.prologue ? anchor.value : "  const float value = raw;\n");
}

Result<cuda::Source> dense_source(const Problem& problem) {
  const auto anchor = anchor_of(problem);
  const Geometry g = geometry_of(problem);
  const std::string functions = g.defines() + element_a(anchor, g) + R"cuda(
__device__ inline float load_a(PARAMETERS, Row row, int k) { return element_a(ARGUMENTS, row, k); }
__device__ inline float load_b(PARAMETERS, i64, int k, int n) { return w[(i64)k * N + n]; }
)cuda" + anchor.store;
  const Tensor& weights = problem.constants[1];
  return finish({cuda::gemm_source(g.gemm(), parameters_of(problem, anchor), functions)}, cuda::permuted(weights, outputs_last(weights)));
}

cuda::Launch dense_launch(const Problem& problem) { return cuda::gemm_launch(geometry_of(problem).gemm()); }

std::string supports_mma(const Problem& problem, const Machine& machine) {
  std::string reason = supports_wide(problem, machine);
  return reason.empty() ? cuda::refuse_mma(geometry_of(problem).gemm()) : reason;
}

Result<cuda::Source> mma_source(const Problem& problem, int variant) {
  const auto anchor = anchor_of(problem);
  const Geometry g = geometry_of(problem);
  const std::string functions = g.defines() + kRowOf + R"cuda(
__device__ inline const A* a_at(PARAMETERS, Row row, int k) {
  const int h = row.h + k / CIN / KW * DILATION_H, w_ = row.w + k / CIN % KW * DILATION_W;
  return h < 0 || h >= H || w_ < 0 || w_ >= W ? nullptr : x + (((i64)row.n * H + h) * W + w_) * CIN + k % CIN;
}
__device__ inline const A* b_at(PARAMETERS, i64, int n, int k) { return w + (i64)n * K + k; }
)cuda" + anchor.store;
  const Tensor& weights = problem.constants[1];
  return finish({cuda::mma_source(g.gemm(), variant, {.b_rounded = true}, parameters_of(problem, anchor), functions)},
                cuda::permuted_for_tensor_cores(weights, outputs_first(weights)));
}

cuda::Launch mma_launch(const Problem& problem, int variant) { return cuda::mma_launch(geometry_of(problem).gemm(), variant); }

// A filter's values as rows of whole 16 bytes, so that those of A are gathered into the like.
cuda::Gemm gathered_gemm(const Problem& problem) {
  cuda::Gemm gemm = geometry_of(problem).gemm();
  const auto step = static_cast<int64_t>(16 / size_of(gemm.type));
  gemm.k = cuda::blocks(gemm.k, step) * step;
  return gemm;
}

std::string supports_gathered(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_any(problem, false); !reason.empty()) return reason;
  if (supports_wide(problem, machine).empty()) return "its pixels are multiples of 16 bytes";
  if (anchor_of(problem).data.dtype == DType::f32 && !machine.tf32) return "TF32 is not among the precisions allowed";
  return cuda::refuse_mma(gathered_gemm(problem));
}

Tensor padded_rows(const Tensor& weights, int64_t rows, int64_t k) {
  Tensor padded(weights.type(), {rows, k});
  const int64_t own = weights.count() / rows;
  for (int64_t r = 0; r < rows; ++r) copy_elements(weights, r * own, padded, r * k, own);
  return padded;
}

Result<cuda::Source> gathered_source(const Problem& problem, int variant) {
  const auto anchor = anchor_of(problem);
  const Geometry g = geometry_of(problem);
  const cuda::Gemm gemm = gathered_gemm(problem);
  const std::string functions = g.defines() + element_a(anchor, g) + R"cuda(
__device__ inline const A* b_at(PARAMETERS, i64, int n, int k) { return w + (i64)n * K + k; }
)cuda" + anchor.store;
  const Tensor& weights = problem.constants[1];
  return finish({cuda::mma_source(gemm, variant, {.b_rounded = true, .gathered = true}, parameters_of(problem, anchor), functions)},
                padded_rows(cuda::permuted_for_tensor_cores(weights, outputs_first(weights)), gemm.n, gemm.k));
}

cuda::Launch gathered_launch(const Problem& problem, int variant) { return cuda::mma_launch(gathered_gemm(problem), variant); }

cuda::WarpgroupProduct product_of(const Problem& problem) {
  const Geometry g = geometry_of(problem);
  cuda::WarpgroupProduct product{.gemm = g.gemm(), .b_constant = true};
  if (!g.pointwise())
    product.patches = cuda::Patches{g.n, g.h, g.w, g.cin, g.oh, g.ow, g.kh, g.kw, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w, g.pad_top, g.pad_left};
  return product;
}

std::string supports_wgmma(const Problem& problem, const Machine& machine) {
  std::string reason = supports_wide(problem, machine);
  return reason.empty() ? cuda::refuse_wgmma(product_of(problem), machine) : reason;
}

int wgmma_variants(const Problem& problem, const Machine&) { return cuda::wgmma_variants(product_of(problem)); }

Result<cuda::Source> wgmma_source(const Problem& problem, int variant) {
  const auto anchor = anchor_of(problem);
  const Tensor& weights = problem.constants[1];
  return finish(cuda::wgmma_source(product_of(problem), variant, parameters_of(problem, anchor), anchor.store),
                cuda::permuted_for_tensor_cores(weights, outputs_first(weights)));
}

cuda::Launch wgmma_launch(const Problem& problem, int variant) {
  const auto inputs = static_cast<size_t>(std::count_if(problem.inputs.begin(), problem.inputs.end(), [](const TensorType& t) { return t.defined(); }));
  return cuda::wgmma_launch(product_of(problem), variant, {.a = 1, .b = inputs});
}

// Channels that a thread takes at once: those of depthwise convolutions do not mix.
int grouped_run(const Geometry& g) { return g.groups == g.cin && g.cin == g.cout ? cuda::run_of(g.type, g.cout) : 1; }

Result<cuda::Source> grouped_source(const Problem& problem) {
  const auto anchor = anchor_of(problem);
  const Geometry g = geometry_of(problem);
  const cuda::Gemm gemm = g.gemm();
  const std::string parameters = parameters_of(problem, anchor);
  cuda::Source source{g.defines() + fmt::format(R"cuda(
#define CIN_GROUP {}
#define COUT_GROUP {}
#define M {}
#define N {}
#define RUN {}
#define PARAMETERS {}
#define ARGUMENTS {}
{}
extern "C" __global__ void kernel(PARAMETERS) {{
  begin();
  const i64 index = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (index >= (i64)M * N) return;
  const int c = index % N, m = index / N, q = m % OW, p = m / OW % OH;
  const auto* image = x + (i64)(m / (OW * OH)) * (H * W * CIN) + c / COUT_GROUP * CIN_GROUP;
  float sums[RUN] = {{}};
#pragma unroll
  for (int r = 0; r < KH; ++r)
#pragma unroll
    for (int s = 0; s < KW; ++s) {{
      const int h = p * STRIDE_H - PAD_TOP + r * DILATION_H, w_ = q * STRIDE_W - PAD_LEFT + s * DILATION_W;
      if (h < 0 || h >= H || w_ < 0 || w_ >= W) continue;
      for (int i = 0; i < CIN_GROUP; ++i) {{
        const auto pixel = load_run<RUN>(image + (i64)(h * W + w_) * CIN + i), weights = load_run<RUN>(w + ((i64)(r * KW + s) * CIN_GROUP + i) * COUT + c);
#pragma unroll
        for (int j = 0; j < RUN; ++j) sums[j] += (float)pixel.v[j] * (float)weights.v[j];
      }}
    }}
  store(ARGUMENTS, 0, m, c, sums);
}}
)cuda", g.cin / g.groups, g.cout / g.groups, gemm.m, gemm.n, grouped_run(g), parameters, cuda::arguments_of(parameters), anchor.store)};
  const Tensor& weights = problem.constants[1];
  return finish(std::move(source), cuda::permuted(weights, outputs_last(weights)));
}

cuda::Launch grouped_launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.outputs[0])) / grouped_run(geometry_of(problem)));
}

}  // namespace

std::span<const Tactic> cuda_conv_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports_wgmma, wgmma_source, wgmma_launch, wgmma_variants>("cuda.conv_wgmma"),
                                     cuda::row<supports_mma, mma_source, mma_launch, cuda::mma_variants>("cuda.conv_mma", 1),
                                     cuda::row<supports_gathered, gathered_source, gathered_launch, cuda::mma_variants>("cuda.conv_gathered_mma", 1),
                                     cuda::row<supports_dense, dense_source, dense_launch>("cuda.conv", 2),
                                     cuda::row<supports_grouped, grouped_source, grouped_launch>("cuda.conv_grouped")};
  return kRows;
}

}  // namespace hone
