// Attention on the tensor cores of compute capability 9.0: see kernels/cuda/attention_wgmma.cuh.
#include <algorithm>

#include "kernels/cuda/attention_rows.cuh.h"
#include "kernels/cuda/attention_wgmma.cuh.h"
#include "kernels/cuda/boxes.cuh.h"
#include "ops/attention.h"
#include "tactics/cuda/after.h"
#include "tactics/cuda/attention.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

using cuda::AttentionGeometry;

constexpr int kMostSize = 128;  // of a head: its results stay in registers
constexpr int kTile = 64;       // queries of a group of warps

struct Tiling {
  int keys;    // of a block
  int groups;  // of 4 warps
  int rounds;  // tiles that a group takes
  int stages;  // blocks of keys in shared memory
  bool resident;
};

int to_multiple(int64_t value, int64_t of) { return static_cast<int>(cuda::blocks(value, of) * of); }
int box_columns(int64_t size) { return size > 32 ? 64 : 32; }
int stored_columns(int64_t size) { return to_multiple(size, box_columns(size)); }

int shared_bytes(const AttentionGeometry& g, const Tiling& s) {
  const int tiles = s.groups * (s.rounds > 1 ? 2 : 1);
  const int columns = std::max(stored_columns(g.size), static_cast<int>(g.v_size));
  return 1024 + tiles * (kTile * 2 * columns + 8) +
         s.stages * (s.keys * 2 * (stored_columns(g.size) + stored_columns(g.v_size)) + 16);
}

// How many blocks a multiprocessor holds at once: by shared memory, of which each takes 1 KiB more, and by registers,
// for a thread's part of the scores and results, and some.
int blocks_at_once(const AttentionGeometry& g, const Tiling& s) {
  const int registers = to_multiple((s.keys + g.v_size) / 2 + 28, 8);
  const int by_registers = 65536 / (128 * s.groups * std::min(registers, 255));
  return std::max(1, std::min(by_registers, (cuda::kMostSharedBytes + 1024) / (shared_bytes(g, s) + 1024)));
}

// Best guess first. All keys at once need no running sums; fewer leave registers for more warps.
std::vector<Tiling> tilings(const AttentionGeometry& g) {
  const auto tiles = static_cast<int>(cuda::blocks(g.queries, kTile));
  std::vector<int> widths;
  if (g.keys + g.v_size <= 352 && g.keys <= 256) widths.push_back(to_multiple(g.keys, 16));
  if (g.keys > 64) widths.push_back(g.keys > 256 ? 128 : to_multiple((g.keys + 1) / 2, 16));
  if (g.keys > 256) widths.push_back(g.v_size <= 64 ? 192 : 64);
  std::vector<Tiling> all;
  for (const int keys : widths)
    for (const int groups : {1, 2}) {
      if (groups > 1 && tiles == 1) continue;
      const auto key_blocks = static_cast<int>(cuda::blocks(g.keys, keys));
      const auto rounds = static_cast<int>(cuda::blocks(tiles, groups));
      const Tiling one{keys, groups, 1, key_blocks, true}, every{keys, groups, rounds, key_blocks, true};
      const bool many = g.batch * g.heads * groups >= cuda::kMultiprocessors;
      const int half = cuda::kMostSharedBytes / 2;  // two blocks hide each other's waits
      if (key_blocks > 1 && shared_bytes(g, one) > half) {
        all.push_back({keys, groups, 1, 2, false});
        continue;
      }
      if (rounds > 1 && many && shared_bytes(g, every) <= half) all.push_back(every);
      all.push_back(one);
    }
  std::erase_if(all, [&](const Tiling& s) { return shared_bytes(g, s) > cuda::kMostSharedBytes; });
  return all;
}

Tiling tiling_of(const Problem& problem, int variant) {
  return tilings(cuda::attention_geometry(problem))[static_cast<size_t>(variant)];
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string reason = cuda::refuse_attention(problem); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_other_than_hopper(machine); !reason.empty()) return reason;
  if (problem.inputs[0].dtype == DType::f32) return "f32 elements";
  const AttentionGeometry g = cuda::attention_geometry(problem);
  if (g.size % 8 != 0 || g.v_size % 8 != 0) return "a head's size is not a multiple of 8";
  return g.size > kMostSize || g.v_size > kMostSize ? fmt::format("a head larger than {}", kMostSize) : "";
}

int variants(const Problem& problem, const Machine&) {
  return static_cast<int>(tilings(cuda::attention_geometry(problem)).size());
}

// Dims from the innermost on, which is also the order of strides: in each layout heads and rows lie elsewhere.
struct Layout {
  std::string_view name;
  int dims;
  const char* coordinates;  // of a box, by the operands of the instruction below
};
constexpr Layout kLayouts[] = {
    {"heads", 4, "%3, %4, %5, %7"}, {"rows", 4, "%3, %5, %4, %7"}, {"packed", 5, "%3, %5, %6, %4, %7"}};

const Layout& layout_of(const Problem& problem) {
  const std::string name = cuda::view_after(problem).plain.op.as<Attention>()->layout;
  const auto found =
      std::find_if(std::begin(kLayouts), std::end(kLayouts), [&](const Layout& l) { return l.name == name; });
  return found == std::end(kLayouts) ? kLayouts[0] : *found;
}

std::string load_rows(const Layout& layout) {
  return fmt::format(R"cuda(
__device__ inline void load_rows(const TensorMap& map, unsigned barrier, unsigned to, int column, int row, int head,
                                 int part, int batch) {{
  asm volatile(
      "cp.async.bulk.tensor.{}d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {{{}}}], "
      "[%2];" ::"r"(to), "l"(&map), "r"(barrier), "r"(column), "r"(row), "r"(head), "r"(part), "r"(batch)
      : "memory");
}}
)cuda",
                     layout.dims, layout.coordinates);
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const AttentionGeometry g = cuda::attention_geometry(problem);
  const Tiling t = tiling_of(problem, variant);
  const DType type = problem.inputs[0].dtype;
  return cuda::Source{
      .text = cuda::attention_definitions(problem) +
              fmt::format("#define HEADS_A_KV_HEAD {}\n#define KEYS_A_BLOCK {}\n#define GROUPS {}\n#define ROUNDS "
                          "{}\n#define STAGES {}\n#define RESIDENT {}\n#define BLOCKS_AT_ONCE {}\n"
                          "typedef float Sum;\n",
                          g.heads / g.kv_heads, t.keys, t.groups, t.rounds, t.stages, t.resident ? 1 : 0,
                          blocks_at_once(g, t)) +
              kernels::attention_rows_cuh + kernels::boxes_cuh + load_rows(layout_of(problem)) +
              cuda::wgmma_multiply(type, t.keys, {}) +
              cuda::wgmma_multiply(type, static_cast<int>(g.v_size), {.a_in_registers = true, .b_by_rows = true}) +
              kernels::attention_wgmma_cuh,
      .arch_specific = true};
}

// `rows` of a head in boxes; the batch is the outermost dim.
cuda::TensorMapSpec map_of(const Problem& problem, size_t input, int64_t size, int64_t rows) {
  const DType type = problem.inputs[input].dtype;
  const Dims dims = dims_of(problem.inputs[input]), strides = strides_of(dims);
  const Layout& layout = layout_of(problem);
  cuda::TensorMapSpec map{.type = type};
  for (size_t d = dims.size(); d-- > 0;) {
    map.dims.push_back(static_cast<uint64_t>(dims[d]));
    if (d + 1 < dims.size()) map.strides.push_back(static_cast<uint64_t>(strides[d]) * size_of(type));
    map.box.push_back(1);
    map.element_strides.push_back(1);
  }
  map.box[0] = static_cast<uint32_t>(box_columns(size));
  map.box[layout.name == "heads" ? 1 : dims.size() - 2] = static_cast<uint32_t>(rows);
  return map;
}

cuda::Launch launch(const Problem& problem, int variant) {
  const AttentionGeometry g = cuda::attention_geometry(problem);
  const Tiling t = tiling_of(problem, variant);
  const bool packed = layout_of(problem).name == "packed";
  const size_t k = packed ? 0 : 1, v = packed ? 0 : 2;
  return {.grid = {static_cast<unsigned>(cuda::blocks(g.queries, int64_t{kTile} * t.groups * t.rounds)),
                   static_cast<unsigned>(g.heads), static_cast<unsigned>(g.batch)},
          .block = {static_cast<unsigned>(128 * t.groups)},
          .shared_bytes = static_cast<unsigned>(shared_bytes(g, t)),
          .maps = {{1, map_of(problem, 0, g.size, kTile)},
                   {1 + k, map_of(problem, k, g.size, t.keys)},
                   {1 + v, map_of(problem, v, g.v_size, t.keys)}}};
}

}  // namespace

std::span<const Tactic> cuda_attention_wgmma_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.attention_wgmma")};
  return kRows;
}

}  // namespace hone
