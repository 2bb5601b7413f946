// Convolutions of few tiles: see kernels/cuda/halo_ring.cuh.
#include <algorithm>

#include "kernels/cuda/boxes.cuh.h"
#include "kernels/cuda/halo_ring.cuh.h"
#include "kernels/cuda/warpgroup.cuh.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

constexpr int64_t kRowBytes = 128;

struct Share {
  int64_t tile_n, ways, split;
};

int64_t channels_of(const cuda::ConvGeometry& g) { return kRowBytes / static_cast<int64_t>(size_of(g.type)); }
int64_t chunks(const cuda::ConvGeometry& g) { return g.cin / channels_of(g); }

// A tile of the image, and its boxes in shared memory.
struct Piece {
  int64_t pitch, rows, box_rows, bytes;
};

Piece piece_of(const cuda::ConvGeometry& g) {
  const int64_t more_h = (g.kh - 1) / g.stride_h, more_w = (g.kw - 1) / g.stride_w;
  Piece piece{.pitch = g.ow + more_w};
  piece.rows = std::clamp<int64_t>((64 - g.ow) / piece.pitch + 1, 1, g.oh);
  piece.box_rows = piece.rows + more_h;
  const int64_t read = std::max(piece.box_rows * piece.pitch, 64 + more_h * piece.pitch + more_w);
  piece.bytes = cuda::blocks(read * kRowBytes, 1024) * 1024;
  return piece;
}

bool adds(const Share& share) { return share.split * share.ways > 1; }
int64_t staged(const Share& share) {
  return adds(share) ? share.tile_n : cuda::wgmma_staged(static_cast<int>(share.tile_n));
}
int64_t staging_bytes(const Share& share) { return 64 * share.ways * (staged(share) + 8) * 4; }

int64_t bytes_of_boxes(const cuda::ConvGeometry& g, const Share& share) {
  return chunks(g) / share.split * (g.stride_h * g.stride_w * piece_of(g).bytes + 8);
}

// As many as fit, up to all and what hides the way to memory; as many for each group, which would not know a barrier
// that is two phases behind from one that is ahead.
int64_t stages(const cuda::ConvGeometry& g, const Share& share) {
  constexpr int64_t kInFlight = 96 << 10;
  const int64_t tap = share.tile_n * kRowBytes + 16, left = cuda::kMostSharedBytes - 1024 - 16 -
                                                            bytes_of_boxes(g, share) -
                                                            (adds(share) ? 0 : staging_bytes(share));
  return std::min({g.kh * g.kw * chunks(g) / share.split, left / tap, kInFlight / tap}) / share.ways * share.ways;
}

int64_t shared_bytes(const cuda::ConvGeometry& g, const Share& share) {
  const int64_t operands = stages(g, share) * (share.tile_n * kRowBytes + 16) + bytes_of_boxes(g, share) + 16;
  return 1024 + (adds(share) ? std::max(operands, staging_bytes(share)) : operands + staging_bytes(share));
}

int64_t blocks(const cuda::ConvGeometry& g, const Share& share) {
  return g.n * cuda::blocks(g.oh, piece_of(g).rows) * cuda::blocks(g.cout, share.tile_n) * share.split;
}

bool fits(const cuda::ConvGeometry& g, const Share& share) {
  const int64_t count = blocks(g, share);
  return chunks(g) % (share.split * share.ways) == 0 && stages(g, share) >= std::max<int64_t>(4, 2 * share.ways) &&
         shared_bytes(g, share) <= cuda::kMostSharedBytes &&
         cuda::blocks(g.cout, share.tile_n) * share.tile_n <= g.cout + 31 && count <= cuda::kMultiprocessors &&
         count >= cuda::kMultiprocessors / 3;
}

// As many blocks as run at once. Narrow tiles keep the tensor cores busy by several groups, wide ones by one.
std::vector<Share> candidates(const cuda::ConvGeometry& g) {
  std::vector<Share> all;
  for (const auto& [tile_n, most] : {std::pair<int64_t, size_t>{64, 2}, {128, 1}}) {
    std::vector<Share> own;
    for (const int64_t split : {8, 4, 2, 1})
      for (const int64_t ways : {4, 2, 1})
        if (const Share share{tile_n, ways, split}; own.size() < most && (tile_n == 64 || ways == 1) &&
                                                    (own.empty() || own[0].split == split) && fits(g, share))
          own.push_back(share);
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string reason = cuda::wide_refusal(problem, machine); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_other_than_hopper(machine); !reason.empty()) return reason;
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  if (g.type == DType::f8e4m3fn) return "sums of e4m3 are added up in float";
  if (g.dilation_h != 1 || g.dilation_w != 1) return "dilated";
  if (g.stride_h > 2 || g.stride_w > 2) return "steps over 2";
  if (g.kh > 5 || g.kw > 5 || g.kh * g.kw == 1) return "a filter of one pixel, or larger than 5";
  if (g.cin % channels_of(g) != 0) return "a pixel's channels are not a multiple of 128 bytes";
  if (g.ow > 64) return "rows of more than 64 pixels";
  if (g.cout % 8 != 0) return "columns are not a multiple of 8";
  return candidates(g).empty() ? "too many tiles or too few, or weights too large for shared memory" : "";
}

int variants(const Problem& problem, const Machine&) {
  return static_cast<int>(candidates(cuda::conv_geometry(problem)).size());
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const auto anchor = cuda::conv_anchor(problem);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Share share = candidates(g)[static_cast<size_t>(variant)];
  const Piece piece = piece_of(g);
  const std::string parameters = cuda::conv_parameters(problem, anchor);
  const auto n = static_cast<int>(share.tile_n);
  cuda::Source source{
      .text = fmt::format("{}#define N {}\n#define RUN {}\n"
                          "#define TILE_N {}\n#define STAGED {}\n#define WAYS {}\n#define SPLIT {}\n#define STAGES {}\n"
                          "#define ROW_BYTES {}\n#define CHUNKS {}\n#define PITCH {}\n#define PIECE_H {}\n"
                          "#define BOX_H {}\n#define PIECE_BYTES {}\ntypedef {} A;\ntypedef {} Sum;\n",
                          cuda::define_parameters(parameters + cuda::kRows), g.cout,
                          cuda::wgmma_run(g.cout, problem.outputs[0].dtype), n, staged(share), share.ways, share.split,
                          stages(g, share), kRowBytes, chunks(g) / share.split, piece.pitch, piece.rows, piece.box_rows,
                          piece.bytes, cuda::element_type(g.type), cuda::sum_type(g.type)) +
              g.defines() + cuda::wgmma_multiply(g.type, n, {.bytes = kRowBytes}) + anchor.store + kernels::boxes_cuh +
              kernels::warpgroup_cuh + kernels::halo_ring_cuh,
      .arch_specific = true};
  const Tensor& weights = problem.constants[1];
  return cuda::with_weights(std::move(source), cuda::permuted_for_tensor_cores(weights, cuda::outputs_first(weights)));
}

cuda::Launch launch(const Problem& problem, int variant) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const Share share = candidates(g)[static_cast<size_t>(variant)];
  const Piece piece = piece_of(g);
  return {.grid = {static_cast<unsigned>(blocks(g, share))},
          .block = {static_cast<unsigned>(128 * share.ways + 32)},
          .shared_bytes = static_cast<unsigned>(shared_bytes(g, share)),
          .cluster = static_cast<unsigned>(share.split),
          .maps = {{1, cuda::image_map(g, channels_of(g), piece.pitch, piece.box_rows)},
                   {count_present(problem.inputs), cuda::filter_map(g, channels_of(g), share.tile_n)}},
          .extents = {static_cast<int>(g.gemm().m)}};
}

}  // namespace

std::span<const Tactic> cuda_conv_halo_ring_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.conv_halo_ring_wgmma")};
  return kRows;
}

}  // namespace hone
