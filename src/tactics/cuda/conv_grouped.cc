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

}  // namespace

std::span<const Tactic> cuda_conv_grouped_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports_grouped, grouped_source, grouped_launch>("cuda.conv_grouped")};
  return kRows;
}

}  // namespace hone
