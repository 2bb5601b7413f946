// Depthwise convolutions of 16-bit elements on tensor cores: see kernels/cuda/depthwise.cuh.
#include <algorithm>

#include "kernels/cuda/depthwise.cuh.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

constexpr int64_t kRun = 8, kStrip = 8;

// Of results: runs of channels, rows of a warp, and what a block has.
struct Tile {
  int64_t runs, rows, h, w;

  int64_t threads() const { return 32 * runs * (w / kStrip) * (h / rows) / 2; }
};

int64_t shared_bytes(const cuda::ConvGeometry& g, const Tile& t) {
  const int64_t in_h = (t.h - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1,
                in_w = (t.w - 1) * g.stride_w + (g.kw - 1) * g.dilation_w + 1;
  return in_h * in_w * (t.runs | 1) * 16;
}

// As few tiles of equal size as may have at most `most`.
int64_t part_of(int64_t whole, int64_t most) { return cuda::blocks(whole, cuda::blocks(whole, most)); }

int64_t blocks(const cuda::ConvGeometry& g, const Tile& t) {
  return g.cout / (kRun * t.runs) * g.n * cuda::blocks(g.oh, t.h) * cuda::blocks(g.ow, t.w);
}

// Few rows a warp occupy a GPU that has little to do, more share what they read.
std::vector<Tile> candidates(const cuda::ConvGeometry& g) {
  constexpr int64_t kMostRuns = 8, kMostStrips = 4, kLeastThreads = 64, kMostBytes = 96 << 10;
  int64_t runs = std::min(kMostRuns, g.cout / kRun);
  while (g.cout / kRun % runs != 0) --runs;
  const int64_t strips = part_of(cuda::blocks(g.ow, kStrip), kMostStrips);
  std::vector<Tile> all;
  for (const int64_t most : {2, 4, 7}) {
    const int64_t rows = part_of(g.oh, most), height = strips % 2 == 0 ? rows : 2 * rows;
    const Tile tile{runs, rows, height, strips * kStrip};
    if ((!all.empty() && all.back().rows == rows) || (height > rows && rows >= g.oh)) continue;
    if (tile.threads() >= kLeastThreads && shared_bytes(g, tile) <= kMostBytes) all.push_back(tile);
  }
  return all;
}

std::string supports(const Problem& problem) {
  if (std::string reason = cuda::conv_refusal(problem, true); !reason.empty()) return reason;
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  if (g.groups != g.cin || g.cin != g.cout) return "channels mix";
  if (g.type != DType::f16 && g.type != DType::bf16) return fmt::format("{} elements", name(g.type));
  if (g.cout % kRun != 0) return "channels are not a multiple of 8";
  if (g.kh > 7 || g.kw > 7 || g.stride_h > 2 || g.stride_w > 2 || g.dilation_h > 2 || g.dilation_w > 2)
    return "a filter over 7 wide, or steps over 2";
  if (g.kw < 4) return "few taps, for which multiplying what is beside the diagonals takes longer";
  return candidates(g).empty() ? "a tile too large for shared memory, or too small for a block" : "";
}

int variants(const Problem& problem, const Machine&) {
  return static_cast<int>(candidates(cuda::conv_geometry(problem)).size());
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Tile tile = candidates(g)[static_cast<size_t>(variant)];
  const std::string parameters = cuda::conv_parameters(problem, anchor);
  cuda::Source source{
      g.defines() +
      fmt::format("typedef {0} T;\ntypedef float Sum;\n#define TYPE \"{0}\"\n#define M {1}\n#define N {2}\n#define RUN "
                  "2\n#define RUNS {3}\n#define ROWS {4}\n#define TILE_H {5}\n#define TILE_W {6}\n#define PARAMETERS "
                  "{7}\n#define ARGUMENTS {8}\n",
                  cuda::element_type(g.type), g.n * g.oh * g.ow, g.cout, tile.runs, tile.rows, tile.h, tile.w,
                  parameters, cuda::arguments_of(parameters)) +
      anchor.store + kernels::depthwise_cuh};
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(std::move(source), cuda::permuted(weights, cuda::outputs_last(weights)));
}

cuda::Launch launch(const Problem& problem, int variant) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Tile tile = candidates(g)[static_cast<size_t>(variant)];
  return {.grid = {static_cast<unsigned>(blocks(g, tile))},
          .block = {static_cast<unsigned>(tile.threads())},
          .shared_bytes = static_cast<unsigned>(shared_bytes(g, tile))};
}

}  // namespace

std::span<const Tactic> cuda_conv_depthwise_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.conv_depthwise_mma")};
  return kRows;
}

}  // namespace hone
