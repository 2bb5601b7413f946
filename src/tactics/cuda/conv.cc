#include "ops/conv.h"

#include "tactics/cuda/epilogue.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

// Two spatial dims; a 1-D image has height 1.
struct Geometry {
  int64_t n, h, w, cin, oh, ow, cout, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, groups;

  cuda::Gemm gemm() const { return {.m = n * oh * ow, .n = cout, .k = kh * kw * cin}; }
  // The names that the kernels use.
  std::string defines() const {
    return fmt::format("#define H {}\n#define W {}\n#define CIN {}\n#define OH {}\n#define OW {}\n#define COUT {}\n#define KH {}\n#define KW {}\n"
                       "#define STRIDE_H {}\n#define STRIDE_W {}\n#define DILATION_H {}\n#define DILATION_W {}\n#define PAD_TOP {}\n#define PAD_LEFT {}\n",
                       h, w, cin, oh, ow, cout, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left);
  }
};

Geometry geometry(const Problem& problem, const Conv& conv) {
  Dims x = dims_of(problem.inputs[0]), w = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const bool flat = x.size() == 3;
  if (flat) {
    x.insert(x.begin() + 1, 1);
    w.insert(w.begin() + 2, 1);
    y.insert(y.begin() + 1, 1);
  }
  const auto first = [&](const std::vector<int64_t>& list, int64_t one) { return flat ? one : list[0]; };
  const auto second = [&](const std::vector<int64_t>& list) { return list[flat ? 0 : 1]; };
  return {x[0], x[1], x[2], x[3], y[1], y[2], w[0], w[2], w[3], first(conv.strides, 1), second(conv.strides),
          first(conv.dilations, 1), second(conv.dilations), first(conv.pads, 0), second(conv.pads), conv.groups};
}

std::string supports_any(const Problem& problem, bool grouped) {
  const auto anchor = cuda::view_anchor(problem, Conv::kName);
  if (!anchor) return kAnotherOp;
  const Conv& conv = *anchor->op.as<Conv>();
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[0].dtype != DType::f32) return "not f32";
  if (!conv.channels_last) return "activations are not channels-last";
  if (const int64_t rank = problem.inputs[0].shape.rank(); rank != 3 && rank != 4) return "neither 1-D nor 2-D";
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  if ((conv.groups > 1) != grouped) return grouped ? "one group" : "grouped";
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  if (std::string reason = cuda::refuse_epilogue(problem); !reason.empty()) return reason;
  return grouped ? "" : cuda::refuse_gemm(geometry(problem, conv).gemm());
}

std::string supports_dense(const Problem& problem) { return supports_any(problem, false); }
std::string supports_grouped(const Problem& problem) { return supports_any(problem, true); }

// OIHW to [KH][KW][I][O], so that neighbouring threads read neighbouring outputs.
Tensor pack(const Tensor& weights) {
  const Dims& d = weights.dims();
  const int64_t pixels = element_count(d) / (d[0] * d[1]);
  Tensor packed(DType::f32, {pixels, d[1], d[0]});
  const float* from = weights.data<float>();
  auto* to = packed.mutable_data<float>();
  for (int64_t o = 0; o < d[0]; ++o)
    for (int64_t i = 0; i < d[1]; ++i)
      for (int64_t p = 0; p < pixels; ++p) to[(p * d[1] + i) * d[0] + o] = from[(o * d[1] + i) * pixels + p];
  return packed;
}

std::string parameters_of(const Problem& problem, const cuda::AnchorView& anchor) {
  return fmt::format("float* __restrict__ y, const float* __restrict__ x{}{}, const float* __restrict__ w",
                     anchor.inputs > 2 && has(problem, 2) ? ", const float* bias" : "", anchor.parameters);
}

Result<cuda::Source> finish(const Problem& problem, std::string text) {
  return cuda::Source{.text = std::move(text), .drops = {false, true}, .packed = {pack(problem.constants[1])}};
}

// Rows of the product are output pixels; those behind the last lie outside of the image.
constexpr const char* kRowOf = R"cuda(
struct Row { i64 image; int h, w; };
__device__ inline Row row_of(i64, int m) {
  if (m >= M) return {0, -(1 << 29), 0};
  return {(i64)(m / (OH * OW)) * H * W, m / OW % OH * STRIDE_H - PAD_TOP, m % OW * STRIDE_W - PAD_LEFT};
})cuda";

Result<cuda::Source> dense_source(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, Conv::kName);
  const Geometry g = geometry(problem, *anchor->op.as<Conv>());
  const bool bias = anchor->inputs > 2 && has(problem, 2);
  const std::string functions = g.defines() + fmt::format(R"cuda({}
__device__ inline float load_a(PARAMETERS, Row row, int k) {{
  const int h = row.h + k / CIN / KW * DILATION_H, w_ = row.w + k / CIN % KW * DILATION_W;
  return h < 0 || h >= H || w_ < 0 || w_ >= W ? 0.0f : x[(row.image + h * W + w_) * CIN + k % CIN];
}}
__device__ inline float load_b(PARAMETERS, i64, int k, int n) {{ return w[(i64)k * N + n]; }}
__device__ inline void store(PARAMETERS, i64, int m, int n, float acc) {{
  const i64 index = (i64)m * N + n;
  {}{}  y[index] = result;
}}
)cuda", kRowOf, bias ? "acc += bias[n];\n  " : "", anchor->epilogue);
  return finish(problem, cuda::gemm_source(g.gemm(), parameters_of(problem, *anchor), functions));
}

cuda::Launch dense_launch(const Problem& problem) {
  return cuda::gemm_launch(geometry(problem, *cuda::view_anchor(problem, Conv::kName)->op.as<Conv>()).gemm());
}

// OIHW to [O][KH][KW][I].
Tensor pack_tf32(const Tensor& weights) {
  const Dims& d = weights.dims();
  const int64_t pixels = element_count(d) / (d[0] * d[1]);
  Tensor packed(DType::f32, {d[0], pixels, d[1]});
  const float* from = weights.data<float>();
  auto* to = packed.mutable_data<float>();
  for (int64_t o = 0; o < d[0]; ++o)
    for (int64_t i = 0; i < d[1]; ++i)
      for (int64_t p = 0; p < pixels; ++p) to[(o * pixels + p) * d[1] + i] = cuda::round_to_tf32(from[(o * d[1] + i) * pixels + p]);
  return packed;
}

std::string supports_tf32(const Problem& problem) {
  if (std::string reason = supports_any(problem, false); !reason.empty()) return reason;
  const Geometry g = geometry(problem, *cuda::view_anchor(problem, Conv::kName)->op.as<Conv>());
  return g.cin % 4 != 0 ? "input channels are not a multiple of 4" : cuda::refuse_mma(g.gemm());
}

Result<cuda::Source> tf32_source(const Problem& problem, int variant) {
  const auto anchor = cuda::view_anchor(problem, Conv::kName);
  const Geometry g = geometry(problem, *anchor->op.as<Conv>());
  const bool bias = anchor->inputs > 2 && has(problem, 2);
  const std::string functions = g.defines() + fmt::format(R"cuda({}
__device__ inline const float* a_at(PARAMETERS, Row row, int k) {{
  const int h = row.h + k / CIN / KW * DILATION_H, w_ = row.w + k / CIN % KW * DILATION_W;
  return h < 0 || h >= H || w_ < 0 || w_ >= W ? nullptr : x + (row.image + h * W + w_) * CIN + k % CIN;
}}
__device__ inline const float* b_at(PARAMETERS, i64, int n, int k) {{ return w + (i64)n * K + k; }}
__device__ inline void store(PARAMETERS, i64, int m, int n, float acc) {{
  const i64 index = (i64)m * N + n;
  {}{}  y[index] = result;
}}
)cuda", kRowOf, bias ? "acc += bias[n];\n  " : "", anchor->epilogue);
  return cuda::Source{.text = cuda::mma_source(g.gemm(), variant, true, parameters_of(problem, *anchor), functions),
                      .drops = {false, true}, .packed = {pack_tf32(problem.constants[1])}};
}

cuda::Launch tf32_launch(const Problem& problem, int variant) {
  return cuda::mma_launch(geometry(problem, *cuda::view_anchor(problem, Conv::kName)->op.as<Conv>()).gemm(), variant);
}

// One thread a result.
Result<cuda::Source> grouped_source(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, Conv::kName);
  const Geometry g = geometry(problem, *anchor->op.as<Conv>());
  const bool bias = anchor->inputs > 2 && has(problem, 2);
  return finish(problem, g.defines() + fmt::format(R"cuda(
#define CIN_GROUP {}
#define COUT_GROUP {}
extern "C" __global__ void kernel({}) {{
  const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= {}) return;
  const int c = index % COUT, q = index / COUT % OW, p = index / COUT / OW % OH;
  const float* image = x + index / ((i64)COUT * OW * OH) * ((i64)H * W * CIN) + c / COUT_GROUP * CIN_GROUP;
  float acc = 0;
  for (int r = 0; r < KH; ++r)
    for (int s = 0; s < KW; ++s) {{
      const int h = p * STRIDE_H - PAD_TOP + r * DILATION_H, w_ = q * STRIDE_W - PAD_LEFT + s * DILATION_W;
      if (h < 0 || h >= H || w_ < 0 || w_ >= W) continue;
      for (int i = 0; i < CIN_GROUP; ++i)
        acc += image[(i64)(h * W + w_) * CIN + i] * w[((i64)(r * KW + s) * CIN_GROUP + i) * COUT + c];
    }}
  {}{}  y[index] = result;
}}
)cuda", g.cin / g.groups, g.cout / g.groups, parameters_of(problem, *anchor), element_count(dims_of(problem.outputs[0])),
      bias ? "acc += bias[c];\n  " : "", anchor->epilogue));
}

cuda::Launch grouped_launch(const Problem& problem) { return cuda::elementwise(element_count(dims_of(problem.outputs[0]))); }

}  // namespace

std::span<const Tactic> cuda_conv_tactics() {
  static constexpr Tactic kRows[] = {cuda::tf32_row<supports_tf32, tf32_source, tf32_launch, cuda::mma_variants>("cuda.conv_tf32"),
                                     cuda::row<supports_dense, dense_source, dense_launch>("cuda.conv"),
                                     cuda::row<supports_grouped, grouped_source, grouped_launch>("cuda.conv_grouped")};
  return kRows;
}

}  // namespace hone
