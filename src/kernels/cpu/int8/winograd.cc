// 3x3 convolution of i8 by Winograd's F(4x4, 3x3): a block of tiles is transformed into a buffer that stays in L2 and
// multiplied panel by panel. Threads share out blocks of tiles; where weights outweigh activations they share out
// output channels instead, after transforming all tiles together.
#include "kernels/cpu/int8/winograd_kernel.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {

namespace avx2 {
extern const Int8WinogradKernel kInt8Winograd;
extern const Int16Products kInt16Products;
}  // namespace avx2
namespace avx512 {
extern const Int8WinogradKernel kInt8Winograd;
extern const Int16Products kInt16Products, kVnniProducts;
}  // namespace avx512

namespace {

struct Set {
  const Int8WinogradKernel* kernel;
  const Int16Products* products;
};

// In the order of Int8Set; those that are refused have the kernels of others.
constexpr Set kSets[] = {{&avx2::kInt8Winograd, &avx2::kInt16Products},
                         {&avx2::kInt8Winograd, &avx2::kInt16Products},
                         {&avx512::kInt8Winograd, &avx512::kInt16Products},
                         {&avx512::kInt8Winograd, &avx512::kVnniProducts},
                         {&avx512::kInt8Winograd, &avx512::kVnniProducts}};

const Set& set_of(Int8Set set) { return kSets[static_cast<size_t>(set)]; }

constexpr int64_t kPoints = kInt8WinogradPoints * kInt8WinogradPoints, kTile = kInt8WinogradTile;
constexpr int64_t kLine = 64;  // bytes, between points, so that their rows do not fall into one set of the cache

// Lengths in elements: of V 2 bytes, of M and sums 4.
struct Plan {
  int64_t tiles_y, tiles_x, tiles;
  int64_t block, blocks;          // tiles in a block (the last may be shorter), and blocks
  int64_t pairs, panels, panel;   // of input channels; of output channels
  int64_t row, v_point, v_block;  // V: a tile's channels, one point of a block, the block
  int64_t m_point;                // M: one point of a block
  int64_t factors;                // of a panel at one point
  int64_t zeros, m_bytes, sums_bytes, factor_bytes, v_bytes, worker;  // bytes
  bool by_channels;

  int64_t panel_bytes() const { return pairs * 9 * panel * 2; }  // of packed weights
  size_t packed_bytes() const { return static_cast<size_t>(panels * panel_bytes()); }
};

Plan plan_of(const ConvProblem& p, const Int8Context& context) {
  const Int16Products& products = *set_of(context.set).products;
  Plan w{};
  w.tiles_y = ceil_div(p.out_h(), kTile);
  w.tiles_x = ceil_div(p.out_w(), kTile);
  w.tiles = p.n * w.tiles_y * w.tiles_x;
  w.pairs = ceil_div(p.cin, 2);
  w.panel = products.panel;
  w.panels = ceil_div(p.cout, w.panel);
  w.row = round_up(p.cin, kInt8WinogradRow);

  const int64_t rows = products.rows, fits = cpu_info().l2 / 2 / (kPoints * w.row * 2);
  const int64_t wanted = context.row_block > 0 ? context.row_block : std::clamp(fits / rows * rows, rows, 4 * rows);
  const bool few = w.panels >= 2 * context.threads && w.tiles < 4 * context.threads * rows;
  w.by_channels = context.threads > 1 && (context.split > 0 ? context.split == 2 : few);
  int64_t blocks = ceil_div(w.tiles, wanted);
  if (!w.by_channels && context.threads > 1) blocks = round_up(blocks, context.threads);
  w.block = std::max<int64_t>(1, ceil_div(w.tiles, blocks));
  w.blocks = ceil_div(w.tiles, w.block);

  w.v_point = w.block * w.row + kLine / 2;
  w.v_block = kPoints * w.v_point;
  w.m_point = w.block * w.panel + kLine / 4;
  w.zeros = round_up(std::max(p.cin, w.panel * 4) + kLine, kLine);
  w.m_bytes = kPoints * w.m_point * 4;
  w.sums_bytes = kTile * kTile * w.panel * 4;
  w.factors = w.pairs * 2 * w.panel + kLine / 2;
  w.factor_bytes = kInt8WinogradPoints * w.factors * 2;
  w.v_bytes = w.v_block * 2;
  w.worker = w.m_bytes + w.sums_bytes + w.factor_bytes + (w.by_channels ? 0 : w.v_bytes) + kLine;
  return w;
}

struct Run {
  const ConvProblem& p;
  const Int8Args& args;
  const Plan w;
  const Set set;
  void (*const input)(const Int8WinogradInput&);
  const Int8FinishFn finish;
  const bool plain;  // so that sums are finished while they are in registers

  Run(const ConvProblem& problem, const Int8Context& context, const Int8Args& a)
      : p(problem),
        args(a),
        w(plan_of(problem, context)),
        set(set_of(context.set)),
        input(context.unsigned_in ? set.kernel->input_u8 : set.kernel->input_i8),
        finish(int8_finish(tier_of(context.set))),
        plain(is_plain(a.epilogue) && a.epilogue.residual == nullptr) {}

  std::byte* zeros() const { return static_cast<std::byte*>(args.workspace); }
  std::byte* worker(int id) const { return zeros() + w.zeros + id * w.worker; }
  int32_t* m(int id) const { return reinterpret_cast<int32_t*>(worker(id)); }
  int32_t* sums(int id) const { return reinterpret_cast<int32_t*>(worker(id) + w.m_bytes); }
  int16_t* factors(int id) const { return reinterpret_cast<int16_t*>(worker(id) + w.m_bytes + w.sums_bytes); }
  int16_t* private_v(int id) const { return factors(id) + w.factor_bytes / 2; }
  int16_t* shared_v(int64_t block) const {
    return reinterpret_cast<int16_t*>(worker(args.pool->size())) + block * w.v_block;
  }
  int64_t block_tiles(int64_t block) const { return std::min(w.block, w.tiles - block * w.block); }

  void transform_in(int64_t tile, int16_t* v) const {
    const int64_t n = tile / (w.tiles_y * w.tiles_x), pitch = p.in_pitch();
    const int64_t y0 = tile / w.tiles_x % w.tiles_y * kTile - p.pad_top;
    const int64_t x0 = tile % w.tiles_x * kTile - p.pad_left;
    const auto* image = static_cast<const std::byte*>(args.in) + n * p.h * p.w * pitch;
    Int8WinogradInput job{.pixels = {}, .channels = p.cin, .v = v, .point_stride = w.v_point};
    for (int64_t i = 0; i < kInt8WinogradPoints; ++i) {
      const bool inside = y0 + i >= 0 && y0 + i < p.h;
      const int64_t line = ((y0 + i) * p.w + x0) * pitch;
      for (int64_t j = 0; j < kInt8WinogradPoints; ++j)
        job.pixels[i * kInt8WinogradPoints + j] =
            inside && x0 + j >= 0 && x0 + j < p.w ? image + line + j * pitch : zeros();
    }
    input(job);
  }

  void transform_out(int64_t tile, int64_t column, const int32_t* products, int32_t* sums) const {
    const int64_t n = tile / (w.tiles_y * w.tiles_x), oh = p.out_h(), ow = p.out_w();
    const int64_t y = tile / w.tiles_x % w.tiles_y * kTile, x = tile % w.tiles_x * kTile;
    const int64_t height = std::min(kTile, oh - y), width = std::min(kTile, ow - x), row = (n * oh + y) * ow + x;
    Int8Finish done{.sums = sums,
                    .sums_ld = w.panel,
                    .rows = width,
                    .columns = std::min(w.panel, p.cout - column),
                    .row = row,
                    .channel = column,
                    .at = row * p.out_pitch() + column,
                    .ld = p.out_pitch(),
                    .out = args.out,
                    .epilogue = &args.epilogue};
    const Int8WinogradOutput job{products,     w.m_point, static_cast<int>(height), static_cast<int>(width),
                                 ow * done.ld, &done};
    if (plain) return set.kernel->output_plain(job);
    set.kernel->output(job);
    for (int64_t i = 0; i < height; ++i, done.row += ow, done.at += job.line) {
      done.sums = sums + i * kTile * w.panel;
      finish(done);
    }
  }

  // One block of tiles by one panel of output channels.
  void multiply(int64_t block, int64_t panel, const int16_t* v, int id) const {
    const int64_t tiles = block_tiles(block), column = panel * w.panel;
    Int8Tile tile{.a = {.ld = w.row * 2}, .steps = w.pairs, .panel = static_cast<int>(w.panel)};
    tile.start = reinterpret_cast<const int32_t*>(zeros());
    tile.columns = static_cast<int>(std::min(w.panel, p.cout - column));
    for (int64_t y = 0; y < kInt8WinogradPoints; ++y) {
      set.kernel->factors[y]({static_cast<const int8_t*>(args.packed) + panel * w.panel_bytes(), w.pairs, tile.panel,
                              factors(id), w.factors});
      for (int64_t x = 0; x < kInt8WinogradPoints; ++x) {
        const int64_t e = y * kInt8WinogradPoints + x;
        tile.b = reinterpret_cast<const int8_t*>(factors(id) + x * w.factors);
        for_tiles(tiles, set.products->rows, [&](int64_t from, int height) {
          tile.rows = height;
          tile.a.first = reinterpret_cast<const std::byte*>(v + e * w.v_point + from * w.row);
          tile.sums = m(id) + e * w.m_point + from * w.panel;
          set.products->run(tile);
        });
      }
    }
    for (int64_t i = 0; i < tiles; ++i) transform_out(block * w.block + i, column, m(id) + i * w.panel, sums(id));
  }

  void by_tiles() const {
    args.pool->parallel(w.blocks, [this](int64_t block, int id) {
      for (int64_t i = 0; i < block_tiles(block); ++i) transform_in(block * w.block + i, private_v(id) + i * w.row);
      for (int64_t panel = 0; panel < w.panels; ++panel) multiply(block, panel, private_v(id), id);
    });
  }

  void by_channels() const {
    args.pool->parallel(
        w.tiles, [this](int64_t tile, int) { transform_in(tile, shared_v(tile / w.block) + tile % w.block * w.row); });
    args.pool->parallel(w.panels * w.blocks, [this](int64_t i, int id) {
      multiply(i % w.blocks, i / w.blocks, shared_v(i % w.blocks), id);
    });
  }
};

// The most that sums over an output channel's weights can be, of either sign.
int64_t largest_sum(const ConvProblem& p, bool unsigned_in, const Int8Weights& weights, int64_t out) {
  int64_t above = 0, below = 0;
  for (int64_t in = 0; in < p.cin; ++in)
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int w = weights.data[out * weights.stride_out + in * weights.stride_in + tap * weights.stride_tap];
      (w > 0 ? above : below) += w > 0 ? w : -w;
    }
  return unsigned_in ? 255 * std::max(above, below) : 128 * (above + below);
}

}  // namespace

const char* int8_winograd_refusal(const ConvProblem& p, const Int8Context& context, const Int8Weights* weights) {
  if (context.set == Int8Set::scalar) return "it pays with AVX2 and AVX-512 alone";
  if (context.set == Int8Set::amx) return "AMX multiplies bytes faster";
  if (p.kh != 3 || p.kw != 3) return "kernel is not 3x3";
  if (p.stride_h != 1 || p.stride_w != 1) return "stride is not 1";
  if (p.dilation_h != 1 || p.dilation_w != 1) return "dilated";
  if (p.groups != 1) return "grouped";
  if (p.cin < 8 || p.cout < 8) return "too few channels for the transforms to pay";
  for (int64_t out = 0; weights != nullptr && out < p.cout; ++out)
    if (largest_sum(p, context.unsigned_in, *weights, out) > kMostInt8WinogradSum)
      return "its sums may be too large to be exact";
  return nullptr;
}

size_t int8_winograd_packed_bytes(const ConvProblem& p, Int8Set set) { return plan_of(p, {.set = set}).packed_bytes(); }

// [panel][pair of input channels][9][column][2]
void int8_winograd_pack(const ConvProblem& p, const Int8Context& context, const Int8Weights& weights, void* packed) {
  const Plan w = plan_of(p, context);
  auto* to = static_cast<int8_t*>(packed);
  std::fill_n(to, w.packed_bytes(), int8_t{0});
  for (int64_t out = 0; out < p.cout; ++out)
    for (int64_t in = 0; in < p.cin; ++in)
      for (int64_t tap = 0; tap < 9; ++tap)
        to[out / w.panel * w.panel_bytes() + ((in / 2 * 9 + tap) * w.panel + out % w.panel) * 2 + in % 2] =
            weights.data[out * weights.stride_out + in * weights.stride_in + tap * weights.stride_tap];
}

size_t int8_winograd_workspace_bytes(const ConvProblem& p, const Int8Context& context) {
  const Plan w = plan_of(p, context);
  return static_cast<size_t>(w.zeros + context.threads * w.worker + (w.by_channels ? w.blocks * w.v_bytes : 0));
}

void int8_winograd(const ConvProblem& p, const Int8Context& context, const Int8Args& args) {
  const Run run(p, context, args);
  std::memset(run.zeros(), 0, static_cast<size_t>(run.w.zeros));
  run.w.by_channels ? run.by_channels() : run.by_tiles();
}

}  // namespace hone::cpu
