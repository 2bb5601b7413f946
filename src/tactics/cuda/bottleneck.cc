// Residual blocks of three convolutions as one kernel: see kernels/cuda/bottleneck.cuh.
#include "kernels/cuda/bottleneck.cuh.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "kernels/cuda/boxes.cuh.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

constexpr int64_t kBetween = 64;  // channels between the layers
constexpr int64_t kRowBytes = 128, kMatrixBytes = kBetween * kRowBytes;
constexpr int64_t kWidth = 14;  // of a tile

// The problem's body seen as its layers, each as the problem that it is alone.
struct Bottleneck {
  Problem first, second, last;
  std::optional<Problem> shortcut;  // else the input itself is added to the last layer's sums
};

// A node of the body with the constants that the whole problem has for it.
Problem layer_of(const Problem& problem, const Graph& body, NodeId id) {
  const Node& node = body.node(id);
  Problem layer{.op = node.op, .outputs = {body.type(node.outputs[0])}};
  for (ValueId v : node.inputs) {
    layer.inputs.push_back(body.type(v));
    const auto at = std::find(body.inputs().begin(), body.inputs().end(), v) - body.inputs().begin();
    const bool known = static_cast<size_t>(at) < problem.constants.size();
    if (!problem.constants.empty())
      layer.constants.push_back(known ? problem.constants[static_cast<size_t>(at)] : Tensor());
  }
  return layer;
}

std::optional<Bottleneck> view(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return std::nullopt;
  const Graph& body = *fused->body;
  const auto order = body.order();
  if (order.size() < 3 || order.size() > 4 || body.inputs().empty()) return std::nullopt;
  const auto before = [&](NodeId id) {
    return id == NodeId::none || body.node(id).inputs.empty() ? NodeId::none
                                                              : body.value(body.node(id).inputs[0]).producer;
  };
  const NodeId last = body.value(body.outputs()[0]).producer, second = before(last), first = before(second);
  if (first == NodeId::none || body.node(last).op.as<Fused>() == nullptr) return std::nullopt;
  const ValueId x = body.inputs()[0], added = body.node(last).inputs.back();
  if (body.node(first).inputs[0] != x) return std::nullopt;
  Bottleneck block{layer_of(problem, body, first), layer_of(problem, body, second), layer_of(problem, body, last), {}};
  if (const NodeId side = body.value(added).producer; order.size() == 4) {
    if (side == NodeId::none || side == second || body.node(side).inputs[0] != x) return std::nullopt;
    block.shortcut = layer_of(problem, body, side);
  } else if (added != x) {
    return std::nullopt;
  }
  return block;
}

std::vector<const Problem*> layers_of(const Bottleneck& block) {
  std::vector<const Problem*> layers{&block.first, &block.second, &block.last};
  if (block.shortcut) layers.push_back(&*block.shortcut);
  return layers;
}

// The elementwise work of a layer on its sums; null where there is none.
const Node* pointwise_of(const Problem& layer) {
  const auto* fused = layer.op.as<Fused>();
  return fused == nullptr ? nullptr : &fused->body->node(fused->body->order().back());
}

size_t own_inputs(const Problem& layer) { return cuda::conv_anchor(layer).inputs; }

struct Tile {
  int64_t height, groups, n;

  int64_t pixels() const { return (height + 2) * 16; }
  int64_t results() const { return height * 16; }
  int64_t slot_bytes() const { return pixels() * kRowBytes; }
  // All shares of a multiprocessor's registers: of a thread that multiplies, and of another.
  int registers() const { return groups == 2 ? 232 : groups == 3 ? 160 : 112; }
  int spare() const { return groups == 2 ? 40 : 32; }
};

struct Layout {
  int64_t chunks, matrices, biases, betweens, slots;  // matrices to betweens: bytes

  int64_t shared_bytes(const Tile& tile) const {
    return 1024 + matrices + biases + betweens + slots * (tile.slot_bytes() + 16) + 16;
  }
};

Layout layout_of(const Bottleneck& block, const Tile& tile) {
  constexpr int64_t kMostSlots = 8;
  const int64_t cin = cuda::conv_geometry(block.first).cin, cout = cuda::conv_geometry(block.last).cout;
  const int64_t wide = block.shortcut ? 2 : 1;
  Layout layout{.chunks = cin / kBetween,
                .matrices = (cin / kBetween + 9) * kMatrixBytes + wide * cout * kRowBytes,
                .biases = (2 * kBetween + wide * cout) * 4,
                .betweens = tile.groups * cuda::blocks((tile.results() + 34) * kRowBytes, 1024) * 1024,
                .slots = 0};
  layout.slots = std::min(kMostSlots, (cuda::kMostSharedBytes - layout.shared_bytes(tile)) / (tile.slot_bytes() + 16));
  return layout;
}

// Those that were fastest at some batch on an H200, of ten and of three (bench/results/2026-11-30-h200-blocks.txt).
std::vector<Tile> candidates(const Bottleneck& block) {
  static constexpr Tile kWithInput[] = {{4, 2, 256}, {4, 3, 128}, {4, 4, 64}}, kWithShortcut[] = {{4, 2, 128}};
  const int64_t cout = cuda::conv_geometry(block.last).cout;
  std::vector<Tile> all;
  for (const Tile& tile : block.shortcut ? std::span<const Tile>(kWithShortcut) : kWithInput) {
    // Where the input's chunk stays until the last layer, each group holds one.
    const int64_t least = block.shortcut ? tile.groups + 1 : 2;
    if (cout % tile.n == 0 && layout_of(block, tile).slots >= least) all.push_back(tile);
  }
  return all;
}

// Why a layer is none of a bottleneck's, beside what any convolution of tensor cores is refused for; or empty.
std::string refuse_layer(const Problem& layer, const Machine& machine, int64_t filter, bool adds) {
  const DType type = layer.inputs[0].dtype;
  if ((type != DType::f16 && type != DType::bf16) || layer.outputs[0].dtype != type)
    return "not 16-bit floats throughout";
  if (std::string reason = cuda::wide_refusal(layer, machine); !reason.empty())
    return reason == kAnotherOp ? "a layer is no convolution" : reason;
  const cuda::ConvGeometry g = cuda::conv_geometry(layer);
  if (g.kh != filter || g.kw != filter || g.oh != g.h || g.ow != g.w || g.stride_h != 1 || g.stride_w != 1 ||
      g.dilation_h != 1 || g.dilation_w != 1 || g.pad_top != filter / 2 || g.pad_left != filter / 2)
    return "filters other than 1x1, 3x3 and 1x1, steps other than 1, or results of another size";
  const size_t own = own_inputs(layer);
  if (own > 2 && layer.inputs[2].defined() && !layer.constants.empty() && !layer.is_constant(2))
    return "a bias that is not constant";
  if (layer.inputs.size() != own + (adds ? 1 : 0) ||
      (adds && dims_of(layer.inputs.back()) != dims_of(layer.outputs[0])))
    return "an epilogue that reads more than what is added to the last layer";
  return {};
}

std::string supports(const Problem& problem, const Machine& machine) {
  const auto block = view(problem);
  if (!block) return kAnotherOp;
  if (std::string reason = cuda::refuse_other_than_hopper(machine); !reason.empty()) return reason;
  for (const Problem* layer : layers_of(*block)) {
    const bool last = layer == &block->last;
    if (std::string reason = refuse_layer(*layer, machine, layer == &block->second ? 3 : 1, last); !reason.empty())
      return reason;
  }
  const cuda::ConvGeometry first = cuda::conv_geometry(block->first), last = cuda::conv_geometry(block->last);
  if (first.cout != kBetween || cuda::conv_geometry(block->second).cout != kBetween)
    return fmt::format("other than {} channels between its layers", kBetween);
  if (first.cin % kBetween != 0 || last.cout % kBetween != 0)
    return fmt::format("its channels are not a multiple of {}", kBetween);
  if (block->shortcut && first.cin != kBetween) return fmt::format("a shortcut of other than {} channels", kBetween);
  return candidates(*block).empty() ? "no tile of it fits in shared memory and registers" : "";
}

int variants(const Problem& problem, const Machine&) { return static_cast<int>(candidates(*view(problem)).size()); }

// `name`_of: what a layer makes of a sum.
std::string results_of(const char* name, const Problem& layer, bool adds) {
  std::string text = fmt::format("__device__ inline float {}_of(float acc, float bias{}) {{\n  acc += bias;\n", name,
                                 adds ? ", float other" : "");
  const Node* node = pointwise_of(layer);
  if (node == nullptr) return text + "  return acc;\n}\n";
  const auto& program = node->op.as<Pointwise>()->program;
  const Graph& body = *layer.op.as<Fused>()->body;
  std::vector<std::string> inputs;
  for (ValueId v : node->inputs) inputs.push_back(body.value(v).producer != NodeId::none ? "acc" : "other");
  return text + cuda::statements(program, inputs) + fmt::format("  return v{};\n}}\n", program.code.size() - 1);
}

// Appends the weights of a layer as rows of 128 bytes, a tap or a chunk of its input's channels behind the other.
// `channel_of` is the channel of each row.
template <class ChannelOf>
void pack(const Problem& layer, std::byte*& to, const ChannelOf& channel_of) {
  const cuda::ConvGeometry g = cuda::conv_geometry(layer);
  const Tensor& weights = layer.constants[1];
  const Tensor from = cuda::permuted(weights, cuda::outputs_first(weights));
  const int64_t per_row = g.kh * g.kw * g.cin, run = 8;
  for (int64_t k = 0; k < per_row; k += kBetween)
    for (int64_t row = 0; row < g.cout; ++row, to += kRowBytes)
      for (int64_t c = 0; c < kBetween; c += run)
        std::memcpy(to + ((c / run) ^ (row % 8)) * 16, from.data<std::byte>() + (channel_of(row) * per_row + k + c) * 2,
                    16);
}

void pack_bias(const Problem& layer, std::byte*& to) {
  const int64_t count = cuda::conv_geometry(layer).cout;
  for (int64_t i = 0; i < count; ++i, to += 4) {
    const bool has_bias = own_inputs(layer) > 2 && layer.is_constant(2);
    const float value = has_bias ? static_cast<float>(layer.constants[2].at(i)) : 0;
    std::memcpy(to, &value, 4);
  }
}

// What stays in shared memory, as it lies there.
Tensor packed_weights(const Bottleneck& block, const Layout& layout) {
  Tensor packed(DType::u8, {layout.matrices + layout.biases});
  std::byte* to = packed.mutable_data<std::byte>();
  const auto in_order = [](int64_t row) { return row; };
  // A thread's sums of 32 channels are of 8 neighbouring ones.
  const auto by_threads = [](int64_t row) {
    const int64_t block = row % 32 / 8, quad = row % 8 / 2;
    return row / 32 * 32 + quad * 8 + block * 2 + row % 2;
  };
  pack(block.first, to, in_order);
  pack(block.second, to, in_order);
  pack(block.last, to, by_threads);
  if (block.shortcut) pack(*block.shortcut, to, by_threads);
  for (const Problem* layer : layers_of(block)) pack_bias(*layer, to);
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
      "#define H {}\n#define W {}\n#define TILES {}\n#define CHUNKS {}\n#define COUT {}\n#define TILE_H {}\n"
      "#define TILE_N {}\n#define GROUPS {}\n#define SLOTS {}\n#define REGISTERS {}\n#define SPARE {}\n#define "
      "SHORTCUT {}\ntypedef {} A;\ntypedef float Sum;\n",
      g.h, g.w, tiles(g, tile), layout.chunks, cuda::conv_geometry(block.last).cout, tile.height, tile.n, tile.groups,
      layout.slots, tile.registers(), tile.spare(), block.shortcut ? 1 : 0, cuda::element_type(g.type));
  for (const int64_t n : std::set<int64_t>{tile.pixels(), tile.results(), tile.n})
    text += cuda::wgmma_multiply(g.type, static_cast<int>(n), false);
  text += results_of("first", block.first, false) + results_of("second", block.second, false) +
          results_of("last", block.last, true);
  if (block.shortcut) text += results_of("shortcut", *block.shortcut, false);
  cuda::Source source{.text = text + kernels::boxes_cuh + kernels::bottleneck_cuh,
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
  const int64_t pixel = g.cin * 2;
  const cuda::TensorMapSpec image{.type = g.type,
                                  .dims = {u(g.cin), u(g.w), u(g.h), u(g.n)},
                                  .strides = {u(pixel), u(g.w * pixel), u(g.h * g.w * pixel)},
                                  .box = {kBetween, 16, static_cast<uint32_t>(tile.height + 2), 1},
                                  .element_strides = {1, 1, 1, 1}};
  return {.grid = {static_cast<unsigned>(tiles(g, tile))},
          .block = {static_cast<unsigned>(128 * tile.groups + 128)},
          .shared_bytes = static_cast<unsigned>(layout_of(block, tile).shared_bytes(tile)),
          .persistent = true,
          .maps = {{1, image}}};
}

}  // namespace

std::span<const Tactic> cuda_bottleneck_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.bottleneck_wgmma")};
  return kRows;
}

}  // namespace hone
