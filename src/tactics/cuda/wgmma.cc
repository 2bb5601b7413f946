#include "tactics/cuda/wgmma.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cuda/boxes.cuh.h"
#include "kernels/cuda/warpgroup.cuh.h"
#include "kernels/cuda/wgmma.cuh.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

struct Tile {
  int n, groups, stages, split = 1, cluster = 1;
  bool alternate = false;

  int rows() const { return alternate ? 64 : 64 * groups; }
  // Of a thread that multiplies, where the even share of them is too small for its sums: 65536 are shared by groups of
  // 128 threads, one of which needs few.
  int registers(DType type) const {
    const bool few = groups == 1 || sums(type) < 192;
    return few ? 0 : groups == 2 ? 232 : 160;
  }
  int threads(DType type) const { return 128 * groups + (registers(type) > 0 ? 128 : 32); }
  // Registers of a row's: of e4m3 those of a stage beside all.
  int sums(DType type) const { return type == DType::f8e4m3fn ? 2 * n : n; }
};

constexpr Tile kTiles[] = {{32, 1, 4},
                           {64, 1, 4},
                           {64, 2, 4},
                           {96, 2, 6},
                           {128, 1, 4},
                           {128, 2, 4},
                           {256, 2, 3},
                           {128, 2, 4, 1, 2},
                           {256, 2, 3, 1, 2},
                           {192, 1, 6},
                           {192, 2, 4, 1, 2},
                           {192, 3, 3},
                           {192, 3, 3, 1, 2},
                           {64, 2, 6, 1, 1, true},
                           {128, 2, 6, 1, 2, true},
                           {256, 2, 4, 1, 4, true},
                           {192, 2, 5, 1, 4, true},
                           {32, 1, 6, 2},
                           {32, 1, 6, 4},
                           {32, 1, 6, 8},
                           {64, 1, 6, 2},
                           {64, 1, 6, 4},
                           {64, 2, 4, 2},
                           {64, 2, 4, 4},
                           {128, 2, 4, 2},
                           {128, 2, 4, 4},
                           {128, 2, 4, 8}};

int64_t tiles(const Gemm& gemm, const Tile& t) {
  return blocks(gemm.m, int64_t{t.rows()} * t.cluster) * t.cluster * blocks(gemm.n, t.n) * gemm.batch;
}

int64_t tap_k(const WarpgroupProduct& p) { return p.patches ? p.patches->channels : p.gemm.k; }
int64_t taps(const WarpgroupProduct& p) { return p.gemm.k / tap_k(p); }
// Bytes of k in a stage.
int row_bytes(const WarpgroupProduct& p) {
  return tap_k(p) * static_cast<int64_t>(size_of(p.gemm.type)) <= 64 ? 64 : 128;
}
int64_t elements_a_row(const WarpgroupProduct& p) { return row_bytes(p) / static_cast<int64_t>(size_of(p.gemm.type)); }
int64_t steps(const WarpgroupProduct& p) { return taps(p) * blocks(tap_k(p), elements_a_row(p)); }

// The operand that is the larger is read once; the smaller one stays in the cache.
bool rows_first(const WarpgroupProduct& p) { return p.gemm.n > p.gemm.m; }
// Whether the order of tiles takes a division by their rows, which are a constant then.
bool divides_by_rows(const WarpgroupProduct& p) { return rows_first(p) || p.gemm.batch > 1; }

bool may_win(const WarpgroupProduct& p, const Tile& t) {
  if (t.sums(p.gemm.type) > 256) return false;
  const int64_t count = tiles(p.gemm, t), columns = blocks(p.gemm.n, t.n) * t.n;
  // Columns that are computed for nothing.
  if (columns - p.gemm.n > std::max<int64_t>(31, p.gemm.n / 4)) return false;
  if (t.split > 1)
    return count * 2 <= kMultiprocessors && count * t.split <= 2 * kMultiprocessors && steps(p) >= int64_t{2} * t.split;
  const bool large = t.n * t.rows() > 64 * 64;
  if (large && count * 2 < kMultiprocessors) return false;  // smaller ones occupy more of the GPU
  // What blocks share, or take turns at, pays with several tiles a block.
  if ((t.cluster > 1 || t.alternate) && count < 2 * kMultiprocessors) return false;
  if (!large && count > 32 * kMultiprocessors && steps(p) > 2) return false;
  return true;
}

int staged_columns(const Tile& t) { return t.split > 1 ? t.n : wgmma_staged(t.n); }

int shared_bytes(const Tile& t, int row_bytes) {
  const int ring = t.stages * (t.rows() + t.n) * row_bytes + 16 * t.stages;
  const int staging = 64 * t.groups * (staged_columns(t) + 8) * 4;
  return 1024 + (t.split > 1 ? std::max(ring, staging) : ring + staging);
}

// The clocks of an H200's multiprocessor that a product takes, roughly: they tell tiles that are worth compiling from
// those that are not. The constants were fitted to the tiles that won in ResNet-50 at batch 1, 8 and 32.
// Whole ones: a variant is a place in their order, which must be the same wherever an engine is loaded.
int64_t estimated_clocks(const WarpgroupProduct& p, const Tile& t) {
  constexpr double kStart = 1500, kLatency = 900, kBytesAClock = 64, kTileEnd = 150;
  constexpr double kSplitEnd = 2500, kSplitPart = 60;    // the sums of a split tile meet
  constexpr double kMemoryBytesAClock = 3e12 / 1.755e9;  // of the whole GPU
  constexpr int64_t kThreads = 2048, kRegisters = 65536, kOwnRegisters = 60;
  const Gemm& g = p.gemm;
  const auto size = static_cast<int64_t>(size_of(g.type)), out = static_cast<int64_t>(size_of(p.result));
  const int64_t threads = t.threads(g.type), turns = blocks(tiles(g, t) * t.split, kMultiprocessors);
  const int64_t at_once =
      std::clamp<int64_t>(std::min({int64_t{kMostSharedBytes / shared_bytes(t, row_bytes(p))}, kThreads / threads,
                                    kRegisters / (threads * (t.sums(g.type) / 2 + kOwnRegisters))}),
                          1, turns);
  const double own_steps = static_cast<double>(steps(p)) / t.split;
  const double multiplying = 2.0 * t.n * (t.alternate ? 1 : t.groups);
  const double loading = (t.rows() + static_cast<double>(t.n) / t.cluster) * row_bytes(p) / kBytesAClock;
  const double busy = static_cast<double>(turns) * own_steps * std::max(multiplying, loading);
  const double waiting =
      static_cast<double>(blocks(turns, at_once)) * own_steps * std::max({kLatency / t.stages, multiplying, loading});
  // The result once more for a residual.
  const double bytes = static_cast<double>(g.batch * (g.m * tap_k(p) * size + 2 * g.m * g.n * out) +
                                           (p.b_batched ? g.batch : 1) * g.n * g.k * size);
  const double ends = static_cast<double>(turns * t.rows() * t.n * out) / kBytesAClock / t.split +
                      static_cast<double>(blocks(turns, at_once)) * kTileEnd +
                      (t.split > 1 ? kSplitEnd + kSplitPart * t.split : 0);
  return std::llround(kStart + std::max({busy, waiting, bytes / kMemoryBytesAClock}) + ends);
}

// Best guess first: of those that could win, kMost, but behind the first kLeast only what is not far behind; and more
// where these are as good. Of 45 products that were timed with all tiles on an H200 the fastest was among the first
// four, but for two which it would have made 0.14 us faster.
std::vector<Tile> candidates(const WarpgroupProduct& p) {
  constexpr size_t kLeast = 3, kMost = 4, kMostEqual = 6;
  constexpr double kFarBehind = 1.5, kEqual = 1.02;
  std::vector<std::pair<int64_t, Tile>> all;
  for (Tile t : kTiles) {
    if (!may_win(p, t)) continue;
    // A short k needs no deep ring: what it leaves lets two blocks share a multiprocessor.
    if (steps(p) <= 2 && t.cluster == 1) t.stages = t.alternate ? 4 : 2;
    all.emplace_back(estimated_clocks(p, t), t);
  }
  std::ranges::stable_sort(all, {}, &std::pair<int64_t, Tile>::first);
  std::vector<Tile> best;
  for (const auto& [clocks, tile] : all) {
    const double behind = static_cast<double>(clocks) / static_cast<double>(all.front().first);
    const double most = best.size() < kLeast ? behind : best.size() < kMost ? kFarBehind : kEqual;
    if (best.size() == kMostEqual || behind > most) break;
    best.push_back(tile);
  }
  return best;
}

constexpr const char* kLoadRows = R"cuda(
__device__ inline void load_a(const TensorMap& map, unsigned barrier, unsigned to, i64 z, int m0, int, int k) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(k), "r"(m0), "r"((int)z)
      : "memory");
}
)cuda";

// The hardware walks the output pixels of a box; the tap moves all of them.
std::string load_patches(const Patches& p) {
  return fmt::format(R"cuda(
__device__ inline void load_a(const TensorMap& map, unsigned barrier, unsigned to, i64, int m0, int tap, int k) {{
  const int w = m0 % {0} * {2} - {4}, h = m0 / {0} % {1} * {3} - {5}, n = m0 / ({0} * {1});
  const unsigned short across = tap % {6} * {7}, down = tap / {6} * {8};
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
      "[%1, {{%3, %4, %5, %6}}], [%2], {{%7, %8}};" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(k), "r"(w), "r"(h), "r"(n), "h"(across), "h"(down)
      : "memory");
}}
)cuda",
                     p.ow, p.oh, p.stride_w, p.stride_h, p.pad_left, p.pad_top, p.kw, p.dilation_w, p.dilation_h);
}

std::vector<uint64_t> unsigned_of(std::initializer_list<int64_t> values) { return {values.begin(), values.end()}; }

TensorMapSpec rows_map(const WarpgroupProduct& p, int64_t rows, int64_t batch, int64_t box_rows) {
  const auto size = static_cast<int64_t>(size_of(p.gemm.type)), k = p.gemm.k;
  return {.type = p.gemm.type,
          .dims = unsigned_of({k, rows, batch}),
          .strides = unsigned_of({k * size, k * rows * size}),
          .box = {static_cast<uint32_t>(elements_a_row(p)), static_cast<uint32_t>(box_rows), 1},
          .element_strides = {1, 1, 1}};
}

TensorMapSpec weights_map(const WarpgroupProduct& p, int64_t box_rows) {
  const int64_t row = row_bytes(p);
  return {.type = p.gemm.type,
          .dims = unsigned_of({elements_a_row(p), p.gemm.n, steps(p)}),
          .strides = unsigned_of({row, p.gemm.n * row}),
          .box = {static_cast<uint32_t>(elements_a_row(p)), static_cast<uint32_t>(box_rows), 1},
          .element_strides = {1, 1, 1}};
}

TensorMapSpec patches_map(const WarpgroupProduct& product, int64_t pixels) {
  const DType type = product.gemm.type;
  const Patches& p = *product.patches;
  const auto size = static_cast<int64_t>(size_of(type));
  // The far corner is where the last output pixel's box begins.
  const auto upper = [](int64_t out, int64_t stride, int64_t pad, int64_t in) {
    return static_cast<int>((out - 1) * stride - pad - (in - 1));
  };
  return {.type = type,
          .dims = unsigned_of({p.channels, p.w, p.h, p.n}),
          .strides = unsigned_of({(p.pixel_pitch > 0 ? p.pixel_pitch : p.channels) * size,
                                  (p.row_pitch > 0 ? p.row_pitch : p.w * p.channels) * size,
                                  (p.image_pitch > 0 ? p.image_pitch : p.h * p.w * p.channels) * size}),
          .box = {static_cast<uint32_t>(elements_a_row(product)), static_cast<uint32_t>(pixels)},
          .element_strides = {1, static_cast<uint32_t>(p.stride_w), static_cast<uint32_t>(p.stride_h), 1},
          .lower = {static_cast<int>(-p.pad_left), static_cast<int>(-p.pad_top)},
          .upper = {upper(p.ow, p.stride_w, p.pad_left, p.w), upper(p.oh, p.stride_h, p.pad_top, p.h)}};
}

}  // namespace

int wgmma_run(int64_t columns, DType result) { return size_of(result) <= 2 && columns % 8 == 0 ? 8 : 4; }

int wgmma_staged(int n) { return n % 64 == 0 ? 64 : 32; }

std::string wgmma_multiply(DType type, int n, const Multiplication& form) {
  std::string registers, sums;
  for (int i = 0; i < n / 2; ++i) {
    registers += fmt::format("{}%{}", i > 0 ? ", " : "", i);
    sums += fmt::format("{}\"{}\"(c[{}])", i > 0 ? ", " : "", type == DType::i8 ? "+r" : "+f", i);
  }
  const char* kind = type == DType::f32        ? "k8.f32.tf32.tf32"
                     : type == DType::f16      ? "k16.f32.f16.f16"
                     : type == DType::i8       ? "k32.s32.s8.s8"
                     : type == DType::f8e4m3fn ? "k32.f32.e4m3.e4m3"
                                               : "k16.f32.bf16.bf16";
  // Signs, of floats; and of 16-bit ones the order of the dims of what is in memory.
  const std::string order = fmt::format("{}, {}", form.a_in_registers ? "" : ", 0", form.b_by_rows ? 1 : 0);
  const std::string flags = type == DType::i8 ? "" : size_of(type) == 2 ? ", 1, 1" + order : ", 1, 1";
  const int first = n / 2, b = first + (form.a_in_registers ? 4 : 1);
  const std::string a_registers = fmt::format("{{%{}, %{}, %{}, %{}}}", first, first + 1, first + 2, first + 3);
  // One statement for all: the compiler takes its time for each of the sums.
  std::string instructions;
  for (int64_t at = 0; at < form.bytes; at += kBytesOfK) {
    std::string from_a = form.a_in_registers ? a_registers : fmt::format("%{}", first), from_b = fmt::format("%{}", b);
    if (at > 0) {
      instructions += fmt::format("add.s64 a, {}, {};\\nadd.s64 b, {}, {};\\n", from_a, at / 16, from_b, at / 16);
      from_a = "a", from_b = "b";
    }
    instructions += fmt::format("wgmma.mma_async.sync.aligned.m64n{}{} {{{}}}, {}, {}, {}{};\\n", n, kind, registers,
                                from_a, from_b, at > 0 ? "always" : "add", flags);
  }
  return fmt::format(
      "__device__ inline void multiply(Sum (&c)[{0}], {1}, u64 b, bool add) {{\n"
      "  asm volatile(\"{{\\n.reg .pred add, always;\\n.reg .b64 a, b;\\nsetp.ne.b32 add, %{2}, 0;\\n"
      "setp.eq.b32 always, 0, 0;\\n{3}}}\" : {4} : {5}, \"l\"(b), \"r\"((int)add));\n}}\n",
      first, form.a_in_registers ? "unsigned a0, unsigned a1, unsigned a2, unsigned a3" : "u64 a", b + 1, instructions,
      sums, form.a_in_registers ? "\"r\"(a0), \"r\"(a1), \"r\"(a2), \"r\"(a3)" : "\"l\"(a)");
}

std::string refuse_other_than_hopper(const Machine& machine) {
  return machine.cuda_arch == "sm_90" ? "" : fmt::format("{} is not sm_90", machine.cuda_arch);
}

std::string refuse_wgmma(const WarpgroupProduct& p, const Machine& machine) {
  if (std::string reason = refuse_other_than_hopper(machine); !reason.empty()) return reason;
  const auto size = static_cast<int64_t>(size_of(p.gemm.type));
  if (tap_k(p) * size % 16 != 0) return "rows are not a multiple of 16 bytes";
  if (p.gemm.n % 4 != 0) return "columns are not a multiple of 4";
  if (std::string reason = refuse_gemm(p.gemm); !reason.empty()) return reason;
  if (p.patches) {
    // Limits of im2col descriptors of 4 dims.
    const Patches& a = *p.patches;
    if (a.stride_h > 8 || a.stride_w > 8) return "a stride over 8";
    if ((a.kh - 1) * a.dilation_h > 255 || (a.kw - 1) * a.dilation_w > 255) return "a filter wider than 255";
    const TensorMapSpec map = patches_map(p, 64);
    for (const auto& corner : {map.lower, map.upper})
      for (int at : corner)
        if (at < -128 || at > 127) return "padding over 127";
  }
  return {};
}

int wgmma_variants(const WarpgroupProduct& product) { return static_cast<int>(candidates(product).size()); }

Source wgmma_source(const WarpgroupProduct& p, int variant, const std::string& parameters, const std::string& store) {
  const Tile tile = candidates(p)[static_cast<size_t>(variant)];
  std::string text = fmt::format(
      "{}#define N {}\n#define BATCH {}\n#define TAPS {}\n#define TAP_K {}\n#define RUN {}\n"
      "#define TILE_N {}\n#define STAGED {}\n#define GROUPS {}\n#define STAGES {}\n#define ROW_BYTES {}\n#define SPLIT "
      "{}\n#define "
      "CLUSTER {}\n#define "
      "ALTERNATE {}\n#define REGISTERS {}\n#define B_BATCHED {}\n#define B_CONSTANT {}\n#define ROWS_FIRST {}\n"
      "typedef {} A;\ntypedef {} Sum;\n",
      divides_by_rows(p) ? fmt::format("#define M {}\n", p.gemm.m) + define_parameters(parameters)
                         : define_parameters(parameters + kRows),
      p.gemm.n, p.gemm.batch, taps(p), tap_k(p), wgmma_run(p.gemm.n, p.result), tile.n, staged_columns(tile),
      tile.groups, tile.stages, row_bytes(p), tile.split, tile.cluster, tile.alternate, tile.registers(p.gemm.type),
      p.b_batched, p.b_constant, rows_first(p), element_type(p.gemm.type), sum_type(p.gemm.type));
  text += wgmma_multiply(p.gemm.type, tile.n, {.bytes = row_bytes(p)}) + store + kernels::boxes_cuh +
          kernels::warpgroup_cuh + wgmma_load_a(p) + kernels::wgmma_cuh;
  return {.text = std::move(text), .arch_specific = true};
}

Tensor wgmma_weights(const WarpgroupProduct& p, const Tensor& weights) {
  const int64_t n = p.gemm.n, row = elements_a_row(p), chunks = blocks(tap_k(p), row);
  const auto size = static_cast<int64_t>(size_of(weights.type()));
  Tensor packed(weights.type(), {steps(p), n, row});
  auto* to = packed.mutable_data<std::byte>();
  for (int64_t step = 0; step < steps(p); ++step) {
    const int64_t k = step % chunks * row, from = step / chunks * tap_k(p) + k, count = std::min(row, tap_k(p) - k);
    for (int64_t column = 0; column < n; ++column, to += row * size)
      std::memcpy(to, weights.data<std::byte>() + (column * p.gemm.k + from) * size, static_cast<size_t>(count * size));
  }
  return packed;
}

std::string wgmma_load_a(const WarpgroupProduct& p) { return p.patches ? load_patches(*p.patches) : kLoadRows; }

TensorMapSpec wgmma_a_map(const WarpgroupProduct& p, int64_t rows) {
  return p.patches ? patches_map(p, rows) : rows_map(p, p.gemm.m, p.gemm.batch, rows);
}

Launch wgmma_launch(const WarpgroupProduct& p, int variant, const OperandPlaces& places) {
  const Tile tile = candidates(p)[static_cast<size_t>(variant)];
  const Gemm& gemm = p.gemm;
  return {.grid = {static_cast<unsigned>(tiles(gemm, tile) * tile.split)},
          .block = {static_cast<unsigned>(tile.threads(gemm.type))},
          .shared_bytes = static_cast<unsigned>(shared_bytes(tile, row_bytes(p))),
          .cluster = static_cast<unsigned>(tile.split * tile.cluster),
          .persistent = tile.split == 1,
          .maps = {{places.a, wgmma_a_map(p, tile.rows())},
                   {places.b, p.b_constant ? weights_map(p, tile.n / tile.cluster)
                                           : rows_map(p, gemm.n, p.b_batched ? gemm.batch : 1, tile.n / tile.cluster)}},
          .extents = divides_by_rows(p) ? std::vector<int>{} : std::vector<int>{static_cast<int>(gemm.m)}};
}

}  // namespace hone::cuda
