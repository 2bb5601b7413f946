// Convolutions of bytes by filters of one pixel: see kernels/cuda/conv_1x1.cuh.
#include <algorithm>

#include "kernels/cuda/boxes.cuh.h"
#include "kernels/cuda/channels.cuh.h"
#include "kernels/cuda/conv_1x1.cuh.h"
#include "tactics/cuda/channels.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

constexpr int64_t kPixels = 64;  // of a tile

struct Share {
  int64_t channels, groups, buffers;  // of a block
};

int64_t row_bytes(const cuda::ConvGeometry& g) { return g.cin == 64 ? 64 : 128; }
int64_t tiles(const cuda::ConvGeometry& g) { return cuda::blocks(g.gemm().m, kPixels); }
int64_t columns_of(const Problem& problem) {
  return std::max<int64_t>(1, static_cast<int64_t>(cuda::columns_of(problem).size()));
}

struct Layout {
  int64_t weights, columns, buffers, slot, slots;  // weights to slot: bytes

  int64_t shared_bytes() const { return 1024 + weights + columns + buffers + slots * (slot + 16) + 128; }
};

Layout layout_of(const Problem& problem, const Share& share) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  Layout layout{.weights = share.channels * g.cin,
                .columns = share.channels * columns_of(problem) * 4,
                .buffers = share.groups * share.buffers * kPixels * 64,
                .slot = kPixels * g.cin,
                .slots = 0};
  // As many for each group: of one that two groups take in turns, a barrier could be two phases behind what one waits
  // for, which looks like being ahead.
  const int64_t fit = (cuda::kMostSharedBytes - layout.shared_bytes()) / (layout.slot + 16);
  layout.slots = std::min<int64_t>(3, fit / share.groups) * share.groups;
  return layout;
}

// That have the same channels: all of a GPU's, where the channels' shares divide them.
int64_t blocks(const cuda::ConvGeometry& g, const Share& share) {
  return std::min(tiles(g), std::max<int64_t>(1, cuda::kMultiprocessors / (g.cout / share.channels)));
}

// The two whose busiest block has the fewest parts of 64 channels; of equal ones those that read the image less often.
std::vector<Share> candidates(const Problem& problem) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  std::vector<std::pair<int64_t, Share>> all;
  for (const int64_t channels : {512, 256, 128, 64}) {
    if (g.cout % channels != 0) continue;
    for (const Share& share : {Share{channels, 4, 3}, {channels, 3, 2}, {channels, 2, 2}}) {
      if (layout_of(problem, share).slots < 2 * share.groups) continue;
      all.emplace_back(cuda::blocks(tiles(g), blocks(g, share)) * (channels / 64), share);
      break;
    }
  }
  std::ranges::stable_sort(all, {}, &std::pair<int64_t, Share>::first);
  std::vector<Share> best;
  for (size_t i = 0; i < std::min<size_t>(2, all.size()); ++i) best.push_back(all[i].second);
  return best;
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string reason = cuda::wide_refusal(problem, machine); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_wgmma(cuda::conv_product(problem), machine); !reason.empty()) return reason;
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  if (g.type != DType::i8 || problem.outputs[0].dtype != DType::i8) return "not i8 throughout";
  if (g.kh != 1 || g.kw != 1) return "a filter of more than one pixel";
  if (g.cout % 64 != 0) return "its results' channels are not a multiple of 64";
  if (g.cin != 64 && g.cin % 128 != 0) return "its channels are neither 64 nor a multiple of 128";
  if (std::string reason = cuda::refuse_columns(problem); !reason.empty()) return reason;
  return candidates(problem).empty() ? "a tile's pixels do not fit in shared memory beside the weights" : "";
}

int variants(const Problem& problem, const Machine&) { return static_cast<int>(candidates(problem).size()); }

Result<cuda::Source> source(const Problem& problem, int variant) {
  const Share share = candidates(problem)[static_cast<size_t>(variant)];
  const Layout layout = layout_of(problem, share);
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const std::optional<size_t> added = cuda::added_to(problem);
  const int64_t row = row_bytes(g), shares = g.cout / share.channels;
  const std::string map = "const __grid_constant__ TensorMap ",
                    parameters = map + "image, " + map + "result, " +
                                 (added ? map + "added, A*, const A*, const A*" : "A*, const A*");
  cuda::Source source{
      .text =
          fmt::format("#define TILE {}\n#define CHANNELS {}\n#define SHARES {}\n#define CHUNKS {}\n"
                      "#define IN_BYTES {}\n#define SLOTS {}\n#define GROUPS {}\n#define BUFFERS {}\n#define ADDS {}\n"
                      "#define COLUMNS {}\n#define PARAMETERS {}\ntypedef signed char A;\ntypedef int Sum;\n",
                      kPixels, share.channels, shares, g.cin / row, row, layout.slots, share.groups, share.buffers,
                      added ? 1 : 0, columns_of(problem), parameters) +
          cuda::wgmma_multiply(g.type, kPixels, {.bytes = row}) + cuda::result_function("result", problem) +
          kernels::boxes_cuh + kernels::channels_cuh + cuda::wgmma_load_a(cuda::conv_product(problem)) +
          kernels::conv_1x1_cuh,
      .drops = std::vector<bool>(problem.inputs.size(), true),
      .packed = {Tensor(DType::u8, {shares * (layout.weights + layout.columns)})},
      .arch_specific = true};
  source.drops[0] = false;
  if (added) source.drops[*added] = false;
  std::byte* to = source.packed[0].mutable_data<std::byte>();
  for (int64_t c0 = 0; c0 < g.cout; c0 += share.channels) {
    cuda::pack_rows(problem, row, c0, share.channels, cuda::channel_in_pairs, to);
    cuda::pack_columns(problem, static_cast<size_t>(columns_of(problem)), c0, share.channels, to);
  }
  return source;
}

cuda::Launch launch(const Problem& problem, int variant) {
  const Share share = candidates(problem)[static_cast<size_t>(variant)];
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const cuda::TensorMapSpec results{.type = g.type,
                                    .dims = {static_cast<uint64_t>(g.cout), static_cast<uint64_t>(g.gemm().m)},
                                    .strides = {static_cast<uint64_t>(g.cout)},
                                    .box = {64, kPixels},
                                    .element_strides = {1, 1}};
  std::vector<cuda::MappedTensor> maps{{1, cuda::wgmma_a_map(cuda::conv_product(problem), kPixels)}, {0, results}};
  if (cuda::added_to(problem)) maps.push_back({2, results});
  return {.grid = {static_cast<unsigned>(blocks(g, share) * (g.cout / share.channels))},
          .block = {static_cast<unsigned>(128 * share.groups + 32)},
          .shared_bytes = static_cast<unsigned>(layout_of(problem, share).shared_bytes()),
          .maps = std::move(maps),
          .extents = {static_cast<int>(tiles(g))}};
}

}  // namespace

std::span<const Tactic> cuda_conv_1x1_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.conv_1x1_wgmma")};
  return kRows;
}

}  // namespace hone
