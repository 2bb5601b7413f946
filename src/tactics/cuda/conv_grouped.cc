#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

std::string supports_grouped(const Problem& problem) { return cuda::conv_refusal(problem, true); }

// Channels that a thread takes at once: those of depthwise convolutions do not mix.
int grouped_run(const cuda::ConvGeometry& g) {
  return g.groups == g.cin && g.cin == g.cout ? cuda::run_of(g.type, g.cout) : 1;
}

Result<cuda::Source> grouped_source(const Problem& problem) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const cuda::Gemm gemm = g.gemm();
  const std::string parameters = cuda::conv_parameters(problem, anchor);
  cuda::Source source{g.defines() + fmt::format(R"cuda(
typedef {} Sum;
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
  Sum sums[RUN] = {{}};
#pragma unroll
  for (int r = 0; r < KH; ++r)
#pragma unroll
    for (int s = 0; s < KW; ++s) {{
      const int h = p * STRIDE_H - PAD_TOP + r * DILATION_H, w_ = q * STRIDE_W - PAD_LEFT + s * DILATION_W;
      if (h < 0 || h >= H || w_ < 0 || w_ >= W) continue;
      for (int i = 0; i < CIN_GROUP; ++i) {{
        const auto pixel = load_run<RUN>(image + (i64)(h * W + w_) * CIN + i);
        const auto weights = load_run<RUN>(w + ((i64)(r * KW + s) * CIN_GROUP + i) * COUT + c);
#pragma unroll
        for (int j = 0; j < RUN; ++j) sums[j] += (Sum)pixel.v[j] * (Sum)weights.v[j];
      }}
    }}
  store(ARGUMENTS, 0, m, c, sums);
}}
)cuda",
                                                cuda::sum_type(g.type), g.cin / g.groups, g.cout / g.groups, gemm.m,
                                                gemm.n, grouped_run(g), parameters, cuda::arguments_of(parameters),
                                                anchor.store)};
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(std::move(source), cuda::permuted(weights, cuda::outputs_last(weights)));
}

cuda::Launch grouped_launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.outputs[0])) / grouped_run(cuda::conv_geometry(problem)));
}

std::string supports_depthwise(const Problem& problem) {
  if (std::string reason = supports_grouped(problem); !reason.empty()) return reason;
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  if (g.groups != g.cin || g.cin != g.cout) return "channels mix";
  return g.kh > 7 || g.kw > 7 || g.dilation_w > 2 || g.stride_w > 2 ? "a filter over 7 wide, or steps over 2" : "";
}

// Neighbouring pixels of a row that a thread makes: they share weights and the pixels that they read.
std::vector<int> depthwise_pixels(const Problem& problem) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const int64_t threads = element_count(dims_of(problem.outputs[0])) / grouped_run(g);
  std::vector<int> pixels{1};
  for (const int count : {2, 4})
    if (g.ow >= count && threads / count >= 64 * cuda::kElementwiseThreads / 4) pixels.push_back(count);
  return pixels;
}

int depthwise_variants(const Problem& problem, const Machine&) {
  return static_cast<int>(depthwise_pixels(problem).size());
}

// A row of the image is read at once, with zeros where it ends, so that no read waits for another.
Result<cuda::Source> depthwise_source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const std::string parameters = cuda::conv_parameters(problem, anchor);
  cuda::Source source{g.defines() + fmt::format(R"cuda(
typedef {} Sum;
#define M {}
#define N {}
#define RUN {}
#define PIXELS {}
#define PARAMETERS {}
#define ARGUMENTS {}
{}
#define SPAN ((PIXELS - 1) * STRIDE_W + (KW - 1) * DILATION_W + 1)
#define RUNS_W ((OW + PIXELS - 1) / PIXELS)
extern "C" __global__ void kernel(PARAMETERS) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  const int c = i % (N / RUN) * RUN, place = i / (N / RUN), q = place % RUNS_W * PIXELS, p = place / RUNS_W % OH;
  const int n = place / (RUNS_W * OH);
  if (n >= M / (OW * OH)) return;
  Sum sums[PIXELS][RUN] = {{}};
#pragma unroll
  for (int r = 0; r < KH; ++r) {{
    const int h = p * STRIDE_H - PAD_TOP + r * DILATION_H;
    if (h < 0 || h >= H) continue;
    const auto* const image = x + ((i64)n * H + h) * W * CIN + c;
    decltype(load_run<RUN>(image)) pixels[SPAN] = {{}};
#pragma unroll
    for (int k = 0; k < SPAN; ++k) {{
      const int w_ = q * STRIDE_W - PAD_LEFT + k;
      if (w_ >= 0 && w_ < W) pixels[k] = load_run<RUN>(image + (i64)w_ * CIN);
    }}
#pragma unroll
    for (int s = 0; s < KW; ++s) {{
      const auto weights = load_run<RUN>(w + (r * KW + s) * COUT + c);
#pragma unroll
      for (int o = 0; o < PIXELS; ++o)
#pragma unroll
        for (int j = 0; j < RUN; ++j)
          sums[o][j] += (Sum)pixels[o * STRIDE_W + s * DILATION_W].v[j] * (Sum)weights.v[j];
    }}
  }}
#pragma unroll
  for (int o = 0; o < PIXELS; ++o)
    if (q + o < OW) store(ARGUMENTS, 0, (n * OH + p) * OW + q + o, c, sums[o]);
}}
)cuda",
                                                cuda::sum_type(g.type), g.n * g.oh * g.ow, g.cout, grouped_run(g),
                                                depthwise_pixels(problem)[static_cast<size_t>(variant)], parameters,
                                                cuda::arguments_of(parameters), anchor.store)};
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(std::move(source), cuda::permuted(weights, cuda::outputs_last(weights)));
}

cuda::Launch depthwise_launch(const Problem& problem, int variant) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  return cuda::elementwise(g.n * g.oh * cuda::blocks(g.ow, depthwise_pixels(problem)[static_cast<size_t>(variant)]) *
                           g.cout / grouped_run(g));
}

}  // namespace

std::span<const Tactic> cuda_conv_grouped_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<supports_depthwise, depthwise_source, depthwise_launch, depthwise_variants>("cuda.conv_depthwise"),
      cuda::row<supports_grouped, grouped_source, grouped_launch>("cuda.conv_grouped", 1)};
  return kRows;
}

}  // namespace hone
