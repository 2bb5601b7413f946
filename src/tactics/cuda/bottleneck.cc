// Residual blocks of three convolutions as one kernel: see kernels/cuda/bottleneck.cuh.
#include "kernels/cuda/bottleneck.cuh.h"

#include <algorithm>
#include <set>

#include "kernels/cuda/bottleneck_bytes.cuh.h"
#include "kernels/cuda/bottleneck_halves.cuh.h"
#include "kernels/cuda/bottleneck_parts.cuh.h"
#include "kernels/cuda/boxes.cuh.h"
#include "kernels/cuda/channels.cuh.h"
#include "ops/fused.h"
#include "tactics/cuda/channels.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

constexpr int64_t kBetween = 64;  // channels between the layers
constexpr int64_t kWidth = 14;    // of a tile

// The problem's body seen as its layers, each as the problem that it is alone.
struct Bottleneck {
  Problem first, second, last;
  std::optional<Problem> shortcut;  // else the input itself is added to the last layer's sums
  bool shortcut_adds = false;       // to its sums the last layer's results are added, not the other way round

  DType type() const { return first.inputs[0].dtype; }
  // Of 64 channels.
  int64_t row_bytes() const { return kBetween * static_cast<int64_t>(size_of(type())); }
  int64_t cin() const { return cuda::conv_geometry(first).cin; }
  int64_t cout() const { return cuda::conv_geometry(last).cout; }
  bool adds(const Problem& layer) const { return &layer == (shortcut_adds ? &*shortcut : &last); }
};

std::optional<Bottleneck> view(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return std::nullopt;
  const Graph& body = *fused->body;
  const auto order = body.order();
  if (order.size() < 3 || order.size() > 4 || body.inputs().empty()) return std::nullopt;
  const ValueId x = body.inputs()[0];
  const auto reads = [&](NodeId id) {
    return id == NodeId::none || body.node(id).inputs.empty() ? ValueId::none : body.node(id).inputs[0];
  };
  const auto before = [&](NodeId id) {
    return reads(id) == ValueId::none ? NodeId::none : body.value(reads(id)).producer;
  };
  const NodeId end = body.value(body.outputs()[0]).producer;
  // The layer whose result is added to the end's sums.
  NodeId added = NodeId::none;
  for (ValueId v : body.node(end).inputs)
    if (v != reads(end) && body.value(v).producer != NodeId::none) added = body.value(v).producer;
  const bool shortcut_adds = reads(end) == x;
  const NodeId last = shortcut_adds ? added : end, side = shortcut_adds ? end : added;
  const NodeId second = before(last), first = before(second);
  if (first == NodeId::none || reads(first) != x || body.node(end).op.as<Fused>() == nullptr) return std::nullopt;
  Bottleneck block{cuda::layer_of(problem, body, first),
                   cuda::layer_of(problem, body, second),
                   cuda::layer_of(problem, body, last),
                   {},
                   shortcut_adds};
  if (order.size() == 4) {
    if (side == NodeId::none || side == second || reads(side) != x) return std::nullopt;
    block.shortcut = cuda::layer_of(problem, body, side);
  } else if (added != NodeId::none || std::ranges::count(body.node(end).inputs, x) != 1) {
    return std::nullopt;
  }
  return block;
}

std::vector<const Problem*> layers_of(const Bottleneck& block) {
  std::vector<const Problem*> layers{&block.first, &block.second, &block.last};
  if (block.shortcut) layers.push_back(&*block.shortcut);
  return layers;
}

// Of the layer that has the most.
int64_t columns_of(const Bottleneck& block) {
  size_t most = 1;
  for (const Problem* layer : layers_of(block)) most = std::max(most, cuda::columns_of(*layer).size());
  return static_cast<int64_t>(most);
}

struct Tile {
  int64_t height, groups;
  int64_t n = 0;        // of 16-bit floats: channels of the last product that a group sums at once
  int64_t buffers = 0;  // of i8: for 64 channels of a group's results

  int64_t pixels() const { return (height + 2) * 16; }
  int64_t results() const { return height * 16; }
  // All shares of a multiprocessor's registers: of a thread that multiplies, and of another.
  int registers() const { return groups == 2 ? 232 : groups == 3 ? 160 : 112; }
  int spare() const { return groups == 2 ? 40 : 32; }
};

struct Layout {
  int64_t chunks, matrices, columns, results, slot, slots;  // matrices to slot: bytes

  int64_t shared_bytes() const { return 1024 + matrices + columns + results + slots * (slot + 16) + 16; }
};

Layout layout_of(const Bottleneck& block, const Tile& tile) {
  constexpr int64_t kMostSlots = 24;
  const int64_t chunks = block.cin() / kBetween, wide = (block.shortcut ? 2 : 1) * block.cout(),
                row = block.row_bytes();
  Layout layout{.chunks = chunks,
                .matrices = ((chunks + 9) * kBetween + wide) * row,
                .columns = (2 * kBetween + wide) * columns_of(block) * 4,
                .results = tile.groups * (cuda::blocks((tile.results() + 34) * row, 1024) * 1024 +
                                          tile.buffers * tile.results() * row),
                .slot = tile.pixels() * row,
                .slots = 0};
  layout.slots = std::min(kMostSlots, (cuda::kMostSharedBytes - layout.shared_bytes()) / (layout.slot + 16));
  return layout;
}

// Those that were fastest at some batch on an H200: of ten, of three, and of nine of i8
// (bench/results/2026-11-30-h200-blocks.txt, 2026-11-30-h200-blocks-int8.txt).
constexpr Tile kHalves[] = {{4, 2, 256}, {4, 3, 128}, {4, 4, 64}}, kHalvesWithShortcut[] = {{4, 2, 128}};
constexpr Tile kBytes[] = {{4, 4, 0, 1}, {2, 3, 0, 2}};

std::vector<Tile> candidates(const Bottleneck& block) {
  const bool bytes = block.type() == DType::i8;
  std::vector<Tile> all;
  for (const Tile& tile : bytes            ? std::span<const Tile>(kBytes)
                          : block.shortcut ? std::span<const Tile>(kHalvesWithShortcut)
                                           : kHalves) {
    const Layout layout = layout_of(block, tile);
    // Where the input's chunks stay until the last layer, each group holds those of a tile.
    const int64_t least = bytes || block.shortcut ? tile.groups * layout.chunks + 1 : 2;
    if ((tile.n == 0 || block.cout() % tile.n == 0) && layout.slots >= least) all.push_back(tile);
  }
  return all;
}

// Why a layer is none of a bottleneck's, beside what any convolution of tensor cores is refused for; or empty.
std::string refuse_layer(const Problem& layer, const Machine& machine, int64_t filter, bool adds) {
  const DType type = layer.inputs[0].dtype;
  if ((type != DType::f16 && type != DType::bf16 && type != DType::i8) || layer.outputs[0].dtype != type)
    return "not 16-bit floats or i8 throughout";
  if (std::string reason = cuda::wide_refusal(layer, machine); !reason.empty())
    return reason == kAnotherOp ? "a layer is no convolution" : reason;
  const cuda::ConvGeometry g = cuda::conv_geometry(layer);
  if (g.kh != filter || g.kw != filter || g.oh != g.h || g.ow != g.w || g.stride_h != 1 || g.stride_w != 1 ||
      g.dilation_h != 1 || g.dilation_w != 1 || g.pad_top != filter / 2 || g.pad_left != filter / 2)
    return "filters other than 1x1, 3x3 and 1x1, steps other than 1, or results of another size";
  if (cuda::added_to(layer).has_value() != adds)
    return "an epilogue that reads more than what is added to the last layer";
  if (std::string reason = cuda::refuse_columns(layer); !reason.empty()) return reason;
  return {};
}

std::string supports(const Problem& problem, const Machine& machine) {
  const auto block = view(problem);
  if (!block) return kAnotherOp;
  if (std::string reason = cuda::refuse_other_than_hopper(machine); !reason.empty()) return reason;
  for (const Problem* layer : layers_of(*block))
    if (std::string reason = refuse_layer(*layer, machine, layer == &block->second ? 3 : 1, block->adds(*layer));
        !reason.empty())
      return reason;
  if (cuda::conv_geometry(block->first).cout != kBetween || cuda::conv_geometry(block->second).cout != kBetween)
    return fmt::format("other than {} channels between its layers", kBetween);
  if (block->cin() % kBetween != 0 || block->cout() % kBetween != 0)
    return fmt::format("its channels are not a multiple of {}", kBetween);
  if (block->shortcut && block->cin() != kBetween) return fmt::format("a shortcut of other than {} channels", kBetween);
  return candidates(*block).empty() ? "no tile of it fits in shared memory and registers" : "";
}

int variants(const Problem& problem, const Machine&) { return static_cast<int>(candidates(*view(problem)).size()); }

// What the layers make of their sums. With a shortcut last_of joins those of two: what is added is rounded to A, as it
// is where each is a kernel.
std::string results_of(const Bottleneck& block) {
  std::string text = cuda::result_function("first", block.first) + cuda::result_function("second", block.second);
  if (!block.shortcut) return text + cuda::result_function("last", block.last);
  text += cuda::result_function("main", block.last) + cuda::result_function("side", *block.shortcut);
  const auto joined = [](const char* outer, const char* inner) {
    return fmt::format("{0}_of({0}, {0}_columns, (A){1}_of({1}, {1}_columns))", outer, inner);
  };
  return text + fmt::format(
                    "__device__ inline auto last_of(Sum main, const float (&main_columns)[COLUMNS], Sum side, const "
                    "float (&side_columns)[COLUMNS]) {{\n  return {};\n}}\n",
                    block.shortcut_adds ? joined("side", "main") : joined("main", "side"));
}

// Another channel of a row of weights: a thread's sums of 32 channels in the last product of 16-bit floats are of 8.
int64_t channel_in_eights(int64_t row) { return row / 32 * 32 + row % 8 / 2 * 8 + row % 32 / 8 * 2 + row % 2; }
int64_t channel_in_order(int64_t row) { return row; }

// What stays in shared memory, as it lies there.
Tensor packed_weights(const Bottleneck& block, const Layout& layout) {
  Tensor packed(DType::u8, {layout.matrices + layout.columns});
  std::byte* to = packed.mutable_data<std::byte>();
  const bool bytes = block.type() == DType::i8;
  const auto between = bytes ? cuda::channel_in_pairs : channel_in_order,
             last = bytes ? cuda::channel_in_pairs : channel_in_eights;
  const auto channels = [](const Problem& layer) { return cuda::conv_geometry(layer).cout; };
  for (const Problem* layer : layers_of(block))
    cuda::pack_rows(*layer, block.row_bytes(), 0, channels(*layer),
                    layer == &block.first || layer == &block.second ? between : last, to);
  for (const Problem* layer : layers_of(block))
    cuda::pack_columns(*layer, static_cast<size_t>(columns_of(block)), 0, channels(*layer), to);
  return packed;
}

int64_t tiles(const cuda::ConvGeometry& g, const Tile& tile) {
  return g.n * cuda::blocks(g.h, tile.height) * cuda::blocks(g.w, kWidth);
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const Bottleneck block = *view(problem);
  const Tile tile = candidates(block)[static_cast<size_t>(variant)];
  const Layout layout = layout_of(block, tile);
  const cuda::ConvGeometry g = cuda::conv_geometry(block.first);
  std::string text = fmt::format(
      "#define H {}\n#define W {}\n#define CHUNKS {}\n#define COUT {}\n#define TILE_H {}\n"
      "#define TILE_N {}\n#define GROUPS {}\n#define SLOTS {}\n#define BUFFERS {}\n#define REGISTERS {}\n"
      "#define SPARE {}\n#define SHORTCUT {}\n#define COLUMNS {}\ntypedef {} A;\ntypedef {} Sum;\n",
      g.h, g.w, layout.chunks, block.cout(), tile.height, tile.n, tile.groups, layout.slots, tile.buffers,
      tile.registers(), tile.spare(), block.shortcut ? 1 : 0, columns_of(block), cuda::element_type(g.type),
      cuda::sum_type(g.type));
  std::set<int64_t> widths{tile.pixels(), tile.results()};
  if (tile.n > 0) widths.insert(tile.n);
  for (const int64_t n : widths)
    text += cuda::wgmma_multiply(g.type, static_cast<int>(n), {.bytes = block.row_bytes()});
  text += results_of(block) + kernels::boxes_cuh + kernels::channels_cuh + kernels::bottleneck_parts_cuh +
          (tile.buffers > 0 ? kernels::bottleneck_bytes_cuh : kernels::bottleneck_halves_cuh) + kernels::bottleneck_cuh;
  cuda::Source source{.text = std::move(text),
                      .drops = std::vector<bool>(problem.inputs.size(), true),
                      .packed = {packed_weights(block, layout)},
                      .arch_specific = true};
  source.drops[0] = false;
  return source;
}

cuda::Launch launch(const Problem& problem, int variant) {
  const Bottleneck block = *view(problem);
  const Tile tile = candidates(block)[static_cast<size_t>(variant)];
  const cuda::ConvGeometry g = cuda::conv_geometry(block.first);
  const auto u = [](int64_t v) { return static_cast<uint64_t>(v); };
  const auto boxes = [&](int64_t channels, uint32_t width, int64_t height) {
    const int64_t pixel = channels * static_cast<int64_t>(size_of(g.type));
    return cuda::TensorMapSpec{.type = g.type,
                               .dims = {u(channels), u(g.w), u(g.h), u(g.n)},
                               .strides = {u(pixel), u(g.w * pixel), u(g.h * g.w * pixel)},
                               .box = {kBetween, width, static_cast<uint32_t>(height), 1},
                               .element_strides = {1, 1, 1, 1}};
  };
  std::vector<cuda::MappedTensor> maps{{1, boxes(g.cin, 16, tile.height + 2)}};
  if (tile.buffers > 0) maps.push_back({0, boxes(block.cout(), kWidth, 1)});
  return {.grid = {static_cast<unsigned>(tiles(g, tile))},
          .block = {static_cast<unsigned>(128 * tile.groups + 128)},
          .shared_bytes = static_cast<unsigned>(layout_of(block, tile).shared_bytes()),
          .persistent = true,
          .maps = std::move(maps),
          .extents = {static_cast<int>(tiles(g, tile))}};
}

}  // namespace

std::span<const Tactic> cuda_bottleneck_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.bottleneck_wgmma")};
  return kRows;
}

}  // namespace hone
