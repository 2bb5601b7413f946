// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_winograd_*: a block of tiles is transformed into a buffer that stays in L2, multiplied panel by panel at each
// point, and transformed back while the products are in L1. Threads share out tiles; where weights outweigh
// activations they share out output channels instead, after transforming all tiles together.
#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/cpu/bf16/kernel.h"
#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/winograd_error.h"
#include "kernels/cpu/conv/winograd_kernel.h"
#include "kernels/cpu/conv/winograd_scheme.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/gemm/fip.h"

namespace hone::cpu {

namespace scalar {
extern const WinogradKernels<float> kWinogradKernels;
}
namespace avx2 {
extern const WinogradKernels<float> kWinogradKernels;
}
namespace avx512 {
extern const WinogradKernels<float> kWinogradKernels;
}

namespace avx512_bf16 {
extern const WinogradKernels<bf16> kWinogradKernels;
}

namespace {

const WinogradKernels<float>& kernels_for(Tier tier, float) {
  switch (tier) {
    case Tier::avx512: return avx512::kWinogradKernels;
    case Tier::avx2: return avx2::kWinogradKernels;
    case Tier::scalar: break;
  }
  return scalar::kWinogradKernels;
}
const WinogradKernels<bf16>& kernels_for(Tier, bf16) { return avx512_bf16::kWinogradKernels; }

template <class T>
const WinogradKernel<T>& kernel_of(const WinogradKernels<T>& k, WinogradF2) {
  return k.f2;
}
template <class T>
const WinogradKernel<T>& kernel_of(const WinogradKernels<T>& k, WinogradF4) {
  return k.f4;
}
template <class T>
const WinogradKernel<T>& kernel_of(const WinogradKernels<T>& k, WinogradF5) {
  return k.f5;
}
template <class T>
const WinogradKernel<T>& kernel_of(const WinogradKernels<T>& k, WinogradF4K4) {
  return k.f4_k4;
}
template <class T>
const WinogradKernel<T>& kernel_of(const WinogradKernels<T>& k, WinogradS2F2) {
  return k.s2_f2;
}
template <class T>
const WinogradKernel<T>& kernel_of(const WinogradKernels<T>& k, WinogradS2F4) {
  return k.s2_f4;
}

// A line between points, so that their rows do not fall into one set of the cache.
constexpr int64_t kLine = 16;

// Ways to multiply points: what these hold, a row of them with what comes before its values, and B's factors.
struct Plain {
  using Value = float;
  static constexpr int64_t kHead = 0;
  static constexpr Tier kLeast = Tier::scalar;
  static constexpr bool kReadsBf16 = true;  // pixels
  static int rows(Tier tier) { return panel_kernel(tier).mr; }
  static int columns(Tier tier) { return panel_kernel(tier).nr; }
  static int64_t row_values(int64_t cin) { return round_up(cin, kLine); }
  static int64_t packed_values(int64_t cin, Tier tier) { return packed_floats(1, cin, tier); }
  static double roundings(int64_t cin) { return plain_roundings(cin); }
};

// Fast inner products.
struct Pairs {
  using Value = float;
  static constexpr int64_t kHead = kFipHead;
  static constexpr Tier kLeast = Tier::avx512;
  static constexpr bool kReadsBf16 = false;
  static int rows(Tier) { return kFipRows; }
  static int columns(Tier tier) { return panel_kernel(tier).nr; }
  static int64_t row_values(int64_t cin) { return fip_row_floats(cin); }
  static int64_t packed_values(int64_t cin, Tier tier) { return fip_panel_floats(cin, columns(tier)); }
  static double roundings(int64_t cin) { return fip_roundings(cin); }
};

struct InBf16 {
  using Value = bf16;
  static constexpr int64_t kHead = 0;
  static const Bf16Kernel& kernel() { return bf16_kernel(Bf16Set::avx512); }
  static int rows(Tier) { return kernel().from_bf16.rows; }
  static int columns(Tier) { return kernel().from_bf16.panel; }
  static int64_t row_values(int64_t cin) { return round_up(cin, kLine); }
  static int64_t packed_values(int64_t cin, Tier tier) { return round_up(cin, 2) * columns(tier); }
};

// Everything that follows from the problem and the variant; V in its values, the rest in floats unless said otherwise.
struct Plan {
  int64_t tiles_y, tiles_x, tiles;
  int64_t block, blocks;          // tiles in a block (the last may be shorter), and blocks
  int64_t row, v_point, v_block;  // V: a tile's channels, one point of a block, the block
  int64_t m_point, m_block;       // M likewise
  int64_t partial, pointers;      // panel kernel's scratch; row pointers, counted in pointers
  int64_t worker;                 // M, partial, pointers, and V unless it is shared
  int64_t panels, k_block;
  bool by_channels;
};

template <class W, class Points>
Plan plan_of(const ConvProblem& p, const ConvContext& ctx) {
  constexpr int64_t kPoints = W::kPoints * W::kPoints;
  constexpr int64_t kValues = std::is_same_v<typename Points::Value, bf16> ? 2 : 1;  // of V in a float
  const int mr = Points::rows(ctx.tier), nr = Points::columns(ctx.tier);
  const CpuInfo& cpu = cpu_info();
  const auto in_floats = [](int64_t bytes) { return bytes / static_cast<int64_t>(sizeof(float)); };
  Plan w{};
  w.tiles_y = ceil_div(p.out_h(), W::kTile);
  w.tiles_x = ceil_div(p.out_w(), W::kTile);
  w.tiles = p.n * w.tiles_y * w.tiles_x;
  w.row = Points::row_values(p.cin);
  w.panels = ceil_div(p.cout, nr);
  w.k_block = in_floats(cpu.l1d) / nr;

  const int64_t fits = in_floats(cpu.l2 / 2) * kValues / (kPoints * w.row);
  const int64_t least = kPoints > 36 ? 12 : 24;
  const int64_t wanted =
      ctx.variant.tile_block > 0 ? ctx.variant.tile_block : std::clamp<int64_t>(fits / mr * mr, least, 2 * least);
  const int64_t threads = ctx.threads;
  const bool few = w.panels >= 2 * threads && w.tiles < 4 * threads * mr;
  w.by_channels = ctx.threads > 1 && (ctx.variant.split > 0 ? ctx.variant.split == 2 : few);
  int64_t blocks = ceil_div(w.tiles, wanted);
  if (!w.by_channels && ctx.threads > 1) blocks = round_up(blocks, ctx.threads);
  w.block = std::max<int64_t>(1, ceil_div(w.tiles, blocks));
  w.blocks = ceil_div(w.tiles, w.block);

  w.v_point = w.block * w.row + kLine * kValues;
  w.v_block = kPoints * w.v_point;
  w.m_point = w.block * nr + kLine;
  w.m_block = kPoints * w.m_point;
  w.partial = round_up(w.block * nr, kLine);
  w.pointers = round_up(w.block, kLine);
  w.worker = w.m_block + w.partial + 2 * w.pointers + (w.by_channels ? 0 : w.v_block / kValues) + kLine;
  return w;
}

int64_t zero_row(const Plan& w) { return w.row; }

template <class W, class T, class Points>
struct Run {
  static constexpr int S = W::kPoints;
  using P = typename Points::Value;

  const ConvProblem& p;
  const ConvArgs& args;
  const Plan w;
  const Tier tier;
  const int nr;
  const WinogradKernel<T>& kernel;
  const int64_t oh, ow;

  Run(const ConvProblem& problem, const ConvContext& ctx, const ConvArgs& a)
      : p(problem),
        args(a),
        w(plan_of<W, Points>(problem, ctx)),
        tier(ctx.tier),
        nr(Points::columns(ctx.tier)),
        kernel(kernel_of(kernels_for(ctx.tier, T()), W())),
        oh(problem.out_h()),
        ow(problem.out_w()) {}

  float* zeros() const { return static_cast<float*>(args.workspace); }
  float* worker(int id) const { return zeros() + zero_row(w) + id * w.worker; }
  P* private_v(int id) const { return reinterpret_cast<P*>(worker(id) + w.m_block + w.partial + 2 * w.pointers); }
  P* shared_v(int64_t block) const { return reinterpret_cast<P*>(worker(args.pool->size())) + block * w.v_block; }
  int64_t block_tiles(int64_t block) const { return std::min(w.block, w.tiles - block * w.block); }

  void transform_in(int64_t tile, P* v) const {
    const int64_t n = tile / (w.tiles_y * w.tiles_x), pitch = p.in_pitch();
    const int64_t y0 = tile / w.tiles_x % w.tiles_y * W::kTile * W::kStride - p.pad_top;
    const int64_t x0 = tile % w.tiles_x * W::kTile * W::kStride - p.pad_left;
    WinogradInput<T, P> job;
    const auto *image = static_cast<const T*>(args.in) + n * p.h * p.w * pitch,
               *outside = reinterpret_cast<const T*>(zeros());
    for (int i = 0; i < S; ++i) {
      const bool inside = y0 + i >= 0 && y0 + i < p.h;
      const int64_t line = ((y0 + i) * p.w + x0) * pitch;
      for (int j = 0; j < S; ++j)
        job.pixels[i * S + j] = inside && x0 + j >= 0 && x0 + j < p.w ? image + line + j * pitch : outside;
    }
    job.channels = p.cin;
    job.v = v + Points::kHead;
    job.point_stride = w.v_point;
    if constexpr (std::is_same_v<P, bf16>) kernel.input_to_bf16(job);
    else kernel.input(job);
    if constexpr (std::is_same_v<Points, Pairs>) {
      const float* rows[S * S];
      for (int e = 0; e < S * S; ++e) rows[e] = job.v + e * w.v_point;
      fip_prepare({rows, S * S, p.cin, v, w.v_point});
    }
  }

  void transform_out(int64_t tile, int64_t col, const float* m) const {
    const Epilogue& ep = args.epilogue;
    const int64_t n = tile / (w.tiles_y * w.tiles_x);
    const int64_t y = tile / w.tiles_x % w.tiles_y * W::kTile, x = tile % w.tiles_x * W::kTile;
    const int64_t pixel = (n * oh + y) * ow + x, at = pixel * p.out_pitch() + col;
    WinogradOutput<T> job{};
    job.m = m;
    job.point_stride = w.m_point;
    job.channels = std::min<int64_t>(nr, p.cout - col);
    job.height = static_cast<int>(std::min<int64_t>(W::kTile, oh - y));
    job.width = static_cast<int>(std::min<int64_t>(W::kTile, ow - x));
    job.out = static_cast<T*>(args.out) + at;
    job.pixel_stride = p.out_pitch();
    job.row_stride = ow * job.pixel_stride;
    job.epilogue = &ep;
    job.bias = ep.bias == nullptr ? nullptr : ep.bias + col;
    job.residual = ep.residual_at<T>(at);
    kernel.output(job);
    if (ep.tile_hook == nullptr) return;
    for (int i = 0; i < job.height; ++i)
      ep.tile_hook(ep.hook_user, job.out + i * job.row_stride, pixel + i * ow, job.width, col, job.channels,
                   job.pixel_stride);
  }

  // One block of tiles against one panel of output channels.
  void multiply(int64_t block, int64_t panel_index, const P* v, float* mine) const {
    const int64_t tiles = block_tiles(block), factor = Points::packed_values(p.cin, tier);
    const auto* u = static_cast<const P*>(args.packed) + panel_index * W::kFactors * W::kFactors * factor;
    multiply_points(Points(), tiles, v, mine,
                    [&](int e) { return u + (factor_of<W>(e / S) * W::kFactors + factor_of<W>(e % S)) * factor; });
    for (int64_t i = 0; i < tiles; ++i) transform_out(block * w.block + i, panel_index * nr, mine + i * nr);
  }

  // M of each point by its factors.
  template <class Factors>
  void multiply_points(Plain, int64_t tiles, const float* v, float* mine, Factors factors) const {
    static const Epilogue plain;
    auto** rows = reinterpret_cast<const float**>(mine + w.m_block + w.partial);
    for (int64_t i = 0; i < tiles; ++i) rows[i] = v + i * w.row;
    PanelJob job;
    job.rows = rows;
    job.m = tiles;
    job.n = nr;
    job.depth = p.cin;
    job.b_ld = nr;
    job.k_block = w.k_block;
    job.partial = mine + w.m_block;
    job.ldc = nr;
    job.epilogue = &plain;
    for (int e = 0; e < S * S; ++e) {
      job.a_offset = e * w.v_point;
      job.b = factors(e);
      job.c = mine + e * w.m_point;
      panel_kernel(tier).run(job);
    }
  }

  template <class Factors>
  void multiply_points(Pairs, int64_t tiles, const float* v, float* mine, Factors factors) const {
    static const Epilogue plain;
    for (int e = 0; e < S * S; ++e) {
      const float* const first = v + e * w.v_point;
      PanelJob job;
      job.rows = &first;
      job.rows_apart = w.row;
      job.m = tiles;
      job.n = job.ldc = nr;
      job.depth = p.cin;
      job.b = factors(e);
      job.c = mine + e * w.m_point;
      job.epilogue = &plain;
      fip_run(job);
    }
  }

  template <class Factors>
  void multiply_points(InBf16, int64_t tiles, const bf16* v, float* mine, Factors factors) const {
    static const Epilogue plain;
    const int64_t row_bytes = w.row * static_cast<int64_t>(sizeof(bf16));
    Bf16Tile tile{.a = {.ld = row_bytes}, .steps = ceil_div(p.cin, 2), .columns = nr, .ld = nr, .epilogue = &plain};
    for (int e = 0; e < S * S; ++e) {
      tile.b = reinterpret_cast<const uint16_t*>(factors(e));
      for_tiles(tiles, InBf16::rows(tier), [&](int64_t from, int height) {
        tile.rows = height;
        tile.a.first = reinterpret_cast<const std::byte*>(v + e * w.v_point + from * w.row);
        tile.out = mine + e * w.m_point + from * nr;
        InBf16::kernel().to_f32(tile);
      });
    }
  }

  void run_by_tiles() const {
    args.pool->parallel(w.blocks, [this](int64_t block, int id) {
      P* const v = private_v(id);
      const int64_t tiles = block_tiles(block);
      for (int64_t i = 0; i < tiles; ++i) transform_in(block * w.block + i, v + i * w.row);
      for (int64_t q = 0; q < w.panels; ++q) multiply(block, q, v, worker(id));
    });
  }

  void run_by_channels() const {
    args.pool->parallel(
        w.tiles, [this](int64_t tile, int) { transform_in(tile, shared_v(tile / w.block) + tile % w.block * w.row); });
    args.pool->parallel(w.panels * w.blocks, [this](int64_t i, int id) {
      multiply(i % w.blocks, i / w.blocks, shared_v(i % w.blocks), worker(id));
    });
  }
};

template <class W>
const char* supports(const ConvProblem& p) {
  if (p.kh != W::kTaps || p.kw != W::kTaps) return W::kTaps == 3 ? "kernel is not 3x3" : "kernel is not 4x4";
  if (p.stride_h != W::kStride || p.stride_w != W::kStride)
    return W::kStride == 1 ? "stride is not 1" : "stride is not 2";
  if (p.dilation_h != 1 || p.dilation_w != 1) return "dilated";
  if (p.groups != 1) return "grouped";
  if (p.cin < 8 || p.cout < 8) return "too few channels for the transforms to pay";
  return nullptr;
}

template <class W, class Points>
size_t packed_bytes(const ConvProblem& p, Tier tier) {
  const int64_t panels = ceil_div(p.cout, Points::columns(tier));
  return static_cast<size_t>(panels * W::kFactors * W::kFactors * Points::packed_values(p.cin, tier)) *
         sizeof(typename Points::Value);
}

// Each factor of a panel, [cin][nr].
template <class W>
std::vector<float> factors_of(const ConvProblem& p, const float* weights, int64_t panel, int64_t nr) {
  constexpr int64_t F = W::kFactors;
  std::vector<float> factors(static_cast<size_t>(F * F * p.cin * nr));
  for (int64_t j = 0; j < std::min(nr, p.cout - panel * nr); ++j)
    for (int64_t ic = 0; ic < p.cin; ++ic) {
      double u[F][F];
      transform_weights<W>(weights + ((panel * nr + j) * p.cin + ic) * W::kTaps * W::kTaps, u);
      for (int64_t e = 0; e < F * F; ++e)
        factors[static_cast<size_t>((e * p.cin + ic) * nr + j)] = static_cast<float>(u[e / F][e % F]);
    }
  return factors;
}

void pack_factor(Plain, const float* factor, int64_t cin, int64_t nr, float* to) { std::copy_n(factor, cin * nr, to); }
void pack_factor(Pairs, const float* factor, int64_t cin, int64_t nr, float* to) {
  fip_pack_panel(factor, cin, nr, to);
}
// [pair of cin][nr][2]
void pack_factor(InBf16, const float* factor, int64_t cin, int64_t nr, bf16* to) {
  std::fill_n(to, round_up(cin, 2) * nr, bf16());
  for (int64_t ic = 0; ic < cin; ++ic)
    for (int64_t j = 0; j < nr; ++j) to[(ic / 2 * nr + j) * 2 + ic % 2] = to_bf16(factor[ic * nr + j]);
}

// [panel][factor]
template <class W, class Points>
void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  const int64_t nr = Points::columns(tier);
  auto* to = static_cast<typename Points::Value*>(packed);
  for (int64_t panel = 0; panel * nr < p.cout; ++panel) {
    const std::vector<float> factors = factors_of<W>(p, weights, panel, nr);
    for (int64_t e = 0; e < W::kFactors * W::kFactors; ++e, to += Points::packed_values(p.cin, tier))
      pack_factor(Points(), factors.data() + e * p.cin * nr, p.cin, nr, to);
  }
}

template <class W, class Points>
size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  const Plan w = plan_of<W, Points>(p, ctx);
  const size_t shared = w.by_channels ? static_cast<size_t>(w.blocks * w.v_block) : 0;
  return static_cast<size_t>(zero_row(w) + ctx.threads * w.worker) * sizeof(float) +
         shared * sizeof(typename Points::Value);
}

template <class W, class T, class Points>
void run_on(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const Run<W, T, Points> r(p, ctx, args);
  std::memset(r.zeros(), 0, static_cast<size_t>(zero_row(r.w)) * sizeof(float));
  r.w.by_channels ? r.run_by_channels() : r.run_by_tiles();
}

template <class W, class Points>
void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  if constexpr (Points::kReadsBf16)
    if (ctx.in_bf16) return run_on<W, bf16, Points>(p, ctx, args);
  run_on<W, float, Points>(p, ctx, args);
}

template <class W, class Points>
size_t candidates(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants) {
  size_t count = 0;
  const auto add = [&](const ConvVariant& v) {
    if (count < variants.size()) variants[count++] = v;
  };
  add({});
  const int mr = Points::rows(ctx.tier);
  const std::array<int, 3> blocks = W::kStride == 1 ? std::array{2, 4, 8} : std::array{1, 2, 4};
  for (int rows : blocks) add({.split = 1, .tile_block = rows * mr});
  // Sharing out channels keeps every tile transformed at once: only for small outputs.
  if (ctx.threads > 1 && p.n * ceil_div(p.out_h(), 4) * ceil_div(p.out_w(), 4) <= 512)
    for (int rows : blocks) add({.split = 2, .tile_block = rows * mr});
  return count;
}

template <class W, class Points>
constexpr ConvAlgorithm algorithm(const char* name) {
  return {.name = name,
          .supports = supports<W>,
          .packed_bytes = packed_bytes<W, Points>,
          .pack = pack<W, Points>,
          .workspace_bytes = workspace_bytes<W, Points>,
          .run = run<W, Points>,
          .candidates = candidates<W, Points>,
          .error_bound = [](const ConvProblem& p,
                            const float* weights) { return winograd_error<W>(p, weights, Points::roundings(p.cin)); },
          .takes_bf16 = Points::kReadsBf16,
          .least_tier = Points::kLeast};
}

template <class W>
constexpr ConvAlgorithm algorithm_in_bf16(const char* name) {
  return {
      .name = name,
      .supports = supports<W>,
      .packed_bytes = packed_bytes<W, InBf16>,
      .pack = pack<W, InBf16>,
      .workspace_bytes = workspace_bytes<W, InBf16>,
      .run = run_on<W, bf16, InBf16>,
      .candidates = candidates<W, InBf16>,
      .error_bound = [](const ConvProblem& p, const float* weights) { return winograd_error_in_bf16<W>(p, weights); },
      .takes_bf16 = true,
      .takes_f32 = false};
}

}  // namespace

const ConvAlgorithm conv_winograd_f4 = algorithm<WinogradF4, Plain>("conv_winograd_f4");
const ConvAlgorithm conv_winograd_f5 = algorithm<WinogradF5, Plain>("conv_winograd_f5");
const ConvAlgorithm conv_winograd_f4_k4 = algorithm<WinogradF4K4, Plain>("conv_winograd_f4_k4");
const ConvAlgorithm conv_winograd_f2 = algorithm<WinogradF2, Plain>("conv_winograd_f2");
const ConvAlgorithm conv_winograd_s2_f4 = algorithm<WinogradS2F4, Plain>("conv_winograd_s2_f4");
const ConvAlgorithm conv_winograd_s2_f2 = algorithm<WinogradS2F2, Plain>("conv_winograd_s2_f2");
const ConvAlgorithm conv_winograd_f4_fip = algorithm<WinogradF4, Pairs>("conv_winograd_f4_fip");
const ConvAlgorithm conv_winograd_f5_fip = algorithm<WinogradF5, Pairs>("conv_winograd_f5_fip");
const ConvAlgorithm conv_winograd_s2_f4_fip = algorithm<WinogradS2F4, Pairs>("conv_winograd_s2_f4_fip");
const ConvAlgorithm conv_winograd_f2_bf16 = algorithm_in_bf16<WinogradF2>("conv_winograd_f2_bf16");
const ConvAlgorithm conv_winograd_s2_f2_bf16 = algorithm_in_bf16<WinogradS2F2>("conv_winograd_s2_f2_bf16");

}  // namespace hone::cpu
