// Convolutions of few channels, as an image's first one has, on the tensor cores of compute capability 9.0. The image
// is first cut into cells of stride x stride pixels, whose channels make up whole 16 bytes; a row of the product's k is
// then 64 or 128 bytes of neighbouring cells, and one of the filter's rows takes one such row, or few.
#include <algorithm>
#include <cstring>

#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

constexpr int64_t kThreads = 256;

struct Cells {
  int64_t stride;          // pixels of a cell, down and across
  int64_t channels;        // of a cell: dy, dx, channel of the image, then zeros
  int64_t together;        // cells of a row of k
  int64_t taps_h, taps_w;  // such rows of a filter, down and across
  int64_t h, w;            // of the image, in cells: with all that windows reach

  int64_t row() const { return channels * together; }
};

Cells cells_of(const cuda::ConvGeometry& g) {
  const auto size = static_cast<int64_t>(size_of(g.type)), whole = 16 / size;
  Cells c{.stride = g.stride_h, .channels = cuda::blocks(g.cin * g.stride_h * g.stride_w, whole) * whole};
  const int64_t across = cuda::blocks(g.kw, c.stride), needed = across * c.channels * size;
  c.together = std::max<int64_t>(1, (needed <= 64 ? 64 : 128) / size / c.channels);
  c.taps_h = cuda::blocks(g.kh, c.stride);
  c.taps_w = cuda::blocks(across, c.together);
  c.h = g.oh + c.taps_h - 1;
  c.w = g.ow + c.taps_w * c.together - 1;
  return c;
}

cuda::WarpgroupProduct product_of(const Problem& problem) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Cells c = cells_of(g);
  cuda::WarpgroupProduct product{.gemm = g.gemm(), .b_constant = true, .result = problem.outputs[0].dtype};
  product.gemm.k = c.taps_h * c.taps_w * c.row();
  product.patches = cuda::Patches{.n = g.n,
                                  .h = c.h,
                                  .w = c.w - (c.together - 1),
                                  .channels = c.row(),
                                  .oh = g.oh,
                                  .ow = g.ow,
                                  .kh = c.taps_h,
                                  .kw = c.taps_w,
                                  .stride_h = 1,
                                  .stride_w = 1,
                                  .dilation_h = 1,
                                  .dilation_w = c.together,
                                  .pad_top = 0,
                                  .pad_left = 0,
                                  .pixel_pitch = c.channels,
                                  .row_pitch = c.w * c.channels,
                                  .image_pitch = c.h * c.w * c.channels};
  return product;
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string reason = cuda::conv_refusal(problem, false); !reason.empty()) return reason;
  if (cuda::wide_refusal(problem, machine).empty()) return "its pixels are multiples of 16 bytes";
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  if (std::string reason = cuda::refuse_tf32(g.type, machine); !reason.empty()) return reason;
  if (g.stride_h != g.stride_w || g.dilation_h != 1 || g.dilation_w != 1)
    return "strides differ, or the filter is dilated";
  if (g.cin * g.stride_h * g.stride_w > 4096) return "cells of too many channels";
  return cuda::refuse_wgmma(product_of(problem), machine);
}

int variants(const Problem& problem, const Machine&) { return cuda::wgmma_variants(product_of(problem)); }

// [O][I][KH][KW] to [O][taps_h][taps_w][together][channels].
Tensor packed_weights(const Tensor& weights, const cuda::ConvGeometry& g, const Cells& c) {
  const Tensor from = cuda::permuted_for_tensor_cores(weights, cuda::outputs_first(weights));
  Tensor packed(weights.type(), {g.cout, c.taps_h, c.taps_w * c.row()});
  const auto size = size_of(weights.type());
  for (int64_t o = 0; o < g.cout; ++o)
    for (int64_t r = 0; r < g.kh; ++r)
      for (int64_t s = 0; s < g.kw; ++s) {
        const int64_t at = ((o * c.taps_h + r / c.stride) * c.taps_w * c.together + s / c.stride) * c.channels +
                           (r % c.stride * c.stride + s % c.stride) * g.cin;
        std::memcpy(packed.mutable_data<std::byte>() + at * static_cast<int64_t>(size),
                    from.data<std::byte>() + ((o * g.kh + r) * g.kw + s) * g.cin * static_cast<int64_t>(size),
                    static_cast<size_t>(g.cin) * size);
      }
  return packed;
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Cells c = cells_of(g);
  const std::string parameters =
      cuda::conv_parameters(problem, anchor) + fmt::format(", {}* cells", cuda::element_type(g.type));
  cuda::Source source = cuda::wgmma_source(product_of(problem), variant, parameters, anchor.store);
  // 16 bytes of a cell a thread.
  source.text += fmt::format(R"cuda(
#define CHANNELS {}
#define CELLS_H {}
#define CELLS_W {}
#define STRIDE {}
#define CIN {}
#define WHOLE ((int)(16 / sizeof(A)))
extern "C" __global__ void before(PARAMETERS) {{
  begin();
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * WHOLE;
  if (i >= (i64){} * CELLS_H * CELLS_W * CHANNELS) return;
  const int first = i % CHANNELS, cell_w = i / CHANNELS % CELLS_W, cell_h = i / CHANNELS / CELLS_W % CELLS_H;
  const int n = i / CHANNELS / CELLS_W / CELLS_H;
  Sum run[WHOLE];
#pragma unroll
  for (int e = 0; e < WHOLE; ++e) {{
    const int inside = (first + e) / CIN, c = (first + e) % CIN;
    const int h = cell_h * STRIDE + inside / STRIDE - {}, w_ = cell_w * STRIDE + inside % STRIDE - {};
    run[e] = 0;
    if (inside >= STRIDE * STRIDE || h < 0 || h >= {} || w_ < 0 || w_ >= {}) continue;
{}    run[e] = value;
  }}
  store_run(cells + i, run);
}}
)cuda",
                             c.channels, c.h, c.w, c.stride, g.cin, g.n, g.pad_top, g.pad_left, g.h, g.w,
                             cuda::image_value(anchor));
  return cuda::with_weights(std::move(source),
                            cuda::wgmma_weights(product_of(problem), packed_weights(problem.constants[1], g, c)));
}

cuda::Launch launch(const Problem& problem, int variant) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Cells c = cells_of(g);
  const auto size = static_cast<int64_t>(size_of(g.type)), bytes = g.n * c.h * c.w * c.channels * size;
  const auto inputs = count_present(problem.inputs);
  cuda::Launch launch = cuda::wgmma_launch(product_of(problem), variant, {.a = inputs + 1, .b = inputs});
  launch.workspace_bytes = bytes;
  launch.before = {.grid = {static_cast<unsigned>(cuda::blocks(bytes / 16, kThreads))}, .block = {kThreads}};
  return launch;
}

}  // namespace

std::span<const Tactic> cuda_conv_cells_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.conv_cells_wgmma")};
  return kRows;
}

}  // namespace hone
