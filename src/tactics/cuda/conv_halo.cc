// Convolutions of few channels and weights with steps of 1: see kernels/cuda/halo.cuh.
#include "kernels/cuda/boxes.cuh.h"
#include "kernels/cuda/halo.cuh.h"
#include "kernels/cuda/warpgroup.cuh.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

struct Halo {
  int64_t tile_n, groups;
};

// Where a result depends on one pixel, pixels lie in rows of 16, whatever the image.
cuda::ConvGeometry geometry_of(const Problem& problem) {
  cuda::ConvGeometry g = cuda::conv_geometry(problem);
  if (!g.pointwise()) return g;
  g.h = g.oh = g.n * g.oh * g.ow / 16;
  g.w = g.ow = 16;
  g.n = 1;
  return g;
}

int64_t size_of_element(const cuda::ConvGeometry& g) { return static_cast<int64_t>(size_of(g.type)); }
int64_t row_bytes(const cuda::ConvGeometry& g) { return g.cin * size_of_element(g) <= 64 ? 64 : 128; }
int64_t chunks(const cuda::ConvGeometry& g) { return cuda::blocks(g.cin * size_of_element(g), row_bytes(g)); }
int64_t width(const cuda::ConvGeometry& g) { return 16 - (g.kw - 1); }
int64_t tiles(const cuda::ConvGeometry& g) { return g.n * cuda::blocks(g.oh, 4) * cuda::blocks(g.ow, width(g)); }

int64_t shared_bytes(const cuda::ConvGeometry& g, const Halo& halo) {
  const int64_t places = 2 * halo.groups, grid = ((4 + g.kh - 1) * 16 + g.kw - 1) * row_bytes(g);
  const int64_t staging = halo.groups * 64 * (cuda::wgmma_staged(static_cast<int>(halo.tile_n)) + 8) * 4;
  return 1024 + g.kh * g.kw * chunks(g) * halo.tile_n * row_bytes(g) +
         places * chunks(g) * cuda::blocks(grid, 1024) * 1024 + 16 * places + 16 + staging;
}

int64_t blocks(const cuda::ConvGeometry& g, const Halo& halo) { return tiles(g) * cuda::blocks(g.cout, halo.tile_n); }

std::vector<Halo> candidates(const cuda::ConvGeometry& g) {
  std::vector<Halo> all;
  for (const Halo halo : {Halo{64, 2}, {64, 3}, {64, 4}, {128, 2}, {128, 3}, {256, 2}, {32, 2}, {32, 4}}) {
    const bool wide = halo.tile_n > 32 && cuda::blocks(g.cout, halo.tile_n) * halo.tile_n > g.cout + 31;
    // Each tile of columns reads the image again.
    const bool narrow = g.cout > 5 * halo.tile_n;
    const bool fits = g.type != DType::f8e4m3fn || halo.tile_n <= 64;  // its sums need twice the registers
    // Where each block has one tile, more groups have nothing to do.
    const bool idle = blocks(g, halo) <= cuda::kMultiprocessors && !all.empty() && all.back().tile_n == halo.tile_n;
    if (fits && !wide && !narrow && !idle && shared_bytes(g, halo) <= cuda::kMostSharedBytes) all.push_back(halo);
  }
  return all;
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string reason = cuda::wide_refusal(problem, machine); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_other_than_hopper(machine); !reason.empty()) return reason;
  if (const auto g = cuda::conv_geometry(problem); g.pointwise() && g.n * g.oh * g.ow % 16 != 0)
    return "a number of pixels that 16 does not divide";
  const cuda::ConvGeometry g = geometry_of(problem);
  if (g.stride_h != 1 || g.stride_w != 1 || g.dilation_h != 1 || g.dilation_w != 1) return "strides, or dilated";
  if (g.kh > 5 || g.kw > 5) return "a filter larger than 5";
  if (chunks(g) > 2) return "a pixel's channels are over 256 bytes";
  if (g.cout % 4 != 0) return "columns are not a multiple of 4";
  return candidates(g).empty()
             ? "the filter's weights are too large for shared memory, or its columns too many for a tile that fits"
             : "";
}

int variants(const Problem& problem, const Machine&) {
  return static_cast<int>(candidates(geometry_of(problem)).size());
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const bool one_image = cuda::conv_geometry(problem).pointwise();
  const cuda::ConvGeometry g = geometry_of(problem);
  const Halo halo = candidates(g)[static_cast<size_t>(variant)];
  const std::string parameters = cuda::conv_parameters(problem, anchor);
  const auto n = static_cast<int>(halo.tile_n);
  cuda::Source source{
      .text = fmt::format(
                  "{}#define N {}\n#define ONE_IMAGE {}\n#define OH {}\n#define OW {}\n#define KH {}\n#define KW {}\n"
                  "#define PAD_TOP {}\n#define PAD_LEFT {}\n#define RUN {}\n#define TILE_N {}\n"
                  "#define STAGED {}\n#define GROUPS {}\n#define ROW_BYTES {}\n#define CHUNKS {}\ntypedef {} "
                  "A;\ntypedef {} Sum;\n",
                  cuda::define_parameters(parameters + cuda::kRows), g.cout, one_image ? 1 : 0,
                  one_image ? "(M / OW)" : std::to_string(g.oh), g.ow, g.kh, g.kw, g.pad_top, g.pad_left,
                  cuda::wgmma_run(g.cout, problem.outputs[0].dtype), n, cuda::wgmma_staged(n), halo.groups,
                  row_bytes(g), chunks(g), cuda::element_type(g.type), cuda::sum_type(g.type)) +
              cuda::wgmma_multiply(g.type, n, {.bytes = row_bytes(g)}) + anchor.store + kernels::boxes_cuh +
              kernels::warpgroup_cuh + kernels::halo_cuh,
      .arch_specific = true};
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(std::move(source), cuda::permuted_for_tensor_cores(weights, cuda::outputs_first(weights)));
}

cuda::Launch launch(const Problem& problem, int variant) {
  const cuda::ConvGeometry g = geometry_of(problem);
  const Halo halo = candidates(g)[static_cast<size_t>(variant)];
  const int64_t row = row_bytes(g) / size_of_element(g);
  return {.grid = {static_cast<unsigned>(blocks(g, halo))},
          .block = {static_cast<unsigned>(128 * halo.groups + 32)},
          .shared_bytes = static_cast<unsigned>(shared_bytes(g, halo)),
          .persistent = true,
          .maps = {{1, cuda::image_map(g, row, 16, 4 + g.kh - 1)},
                   {count_present(problem.inputs), cuda::filter_map(g, row, halo.tile_n)}},
          .extents = {static_cast<int>(g.gemm().m)}};
}

}  // namespace

std::span<const Tactic> cuda_conv_halo_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.conv_halo_wgmma")};
  return kRows;
}

}  // namespace hone
