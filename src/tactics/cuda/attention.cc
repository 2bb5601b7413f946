#include "tactics/cuda/attention.h"

#include <algorithm>

#include "kernels/cuda/attention.cuh.h"
#include "kernels/cuda/attention_mma.cuh.h"
#include "kernels/cuda/attention_rows.cuh.h"
#include "kernels/cuda/attention_tiles.cuh.h"
#include "kernels/cuda/block.cuh.h"
#include "tactics/cuda/gemm.h"

namespace hone {
namespace {

using cuda::AttentionGeometry;

constexpr int64_t kMostKeys = 12000;  // whose scores fit in 48 KiB
constexpr int64_t kMostSize = 128;    // of a head on tensor cores: its fragments stay in registers
constexpr int64_t kBlock = 64;        // keys of a block there
constexpr int kMostShared = 96 * 1024;

std::string supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_attention(problem); !reason.empty()) return reason;
  return cuda::attention_geometry(problem).keys > kMostKeys ? fmt::format("more than {} keys", kMostKeys) : "";
}

Result<cuda::Source> source(const Problem& problem) {
  return cuda::Source{kernels::block_cuh + cuda::attention_definitions(problem) + kernels::attention_cuh};
}

cuda::Launch launch(const Problem& problem) {
  const AttentionGeometry g = cuda::attention_geometry(problem);
  return {.grid = {static_cast<unsigned>(g.queries), static_cast<unsigned>(g.heads), static_cast<unsigned>(g.batch)},
          .block = {256},
          .shared_bytes = static_cast<unsigned>(cuda::blocks(g.keys, 4) * 16)};  // compiled code reads scores by fours
}

std::string supports_mma(const Problem& problem) {
  if (std::string reason = cuda::refuse_attention(problem); !reason.empty()) return reason;
  if (problem.inputs[0].dtype == DType::f32) return "f32 elements";
  const AttentionGeometry g = cuda::attention_geometry(problem);
  if (g.size % 16 != 0 || g.v_size % 16 != 0) return "a head's size is not a multiple of 16";
  return g.size > kMostSize || g.v_size > kMostSize ? fmt::format("a head larger than {}", kMostSize) : "";
}

struct MmaShape {
  int split, stages;  // warps that share the keys of a block of them; blocks in shared memory
};

int stage_bytes(const AttentionGeometry& g) { return static_cast<int>(2 * kBlock * (g.size + 8 + g.v_size + 8)); }

// Where there are few queries, more blocks of threads occupy more of the GPU, and what comes at once is not waited for
// again and again.
std::vector<MmaShape> mma_shapes(const AttentionGeometry& g) {
  const auto deep = static_cast<int>(std::min<int64_t>(4, cuda::blocks(g.keys, kBlock)));
  std::vector<MmaShape> shapes{{1, 2}};
  for (const int split : {1, 2, 4}) {
    const int64_t blocks = cuda::blocks(g.queries, 64 / split) * g.heads * g.batch;
    if (split > 1 && blocks > 4 * cuda::kMultiprocessors) continue;
    if (split > 1) shapes.push_back({split, 2});
    if (deep > 2 && deep * stage_bytes(g) <= kMostShared) shapes.push_back({split, deep});
  }
  return shapes;
}

int mma_variants(const Problem& problem, const Machine&) {
  return static_cast<int>(mma_shapes(cuda::attention_geometry(problem)).size());
}

MmaShape mma_shape(const AttentionGeometry& g, int variant) { return mma_shapes(g)[static_cast<size_t>(variant)]; }

Result<cuda::Source> mma_source(const Problem& problem, int variant) {
  const MmaShape shape = mma_shape(cuda::attention_geometry(problem), variant);
  const char* kind = problem.inputs[0].dtype == DType::f16 ? "f16.f16" : "bf16.bf16";
  return cuda::Source{cuda::attention_definitions(problem) +
                      fmt::format("#define SPLIT {}\n#define STAGES {}\n#define MMA "
                                  "\"mma.sync.aligned.m16n8k16.row.col.f32.{}.f32\"\n",
                                  shape.split, shape.stages, kind) +
                      kernels::attention_rows_cuh + kernels::attention_mma_cuh};
}

cuda::Launch mma_launch(const Problem& problem, int variant) {
  const AttentionGeometry g = cuda::attention_geometry(problem);
  const MmaShape shape = mma_shape(g, variant);
  return {.grid = {static_cast<unsigned>(cuda::blocks(g.queries, 64 / shape.split)), static_cast<unsigned>(g.heads),
                   static_cast<unsigned>(g.batch)},
          .block = {128},
          .shared_bytes = static_cast<unsigned>(shape.stages * stage_bytes(g))};
}

std::string supports_tiles(const Problem& problem) {
  if (std::string reason = cuda::refuse_attention(problem); !reason.empty()) return reason;
  const AttentionGeometry g = cuda::attention_geometry(problem);
  if (g.queries < 4) return "few queries";
  return g.size > kMostSize || g.v_size > kMostSize ? fmt::format("a head larger than {}", kMostSize) : "";
}

// Queries of a thread: more read less shared memory for each product, fewer leave more blocks of threads.
std::vector<int64_t> runs(const AttentionGeometry& g) {
  std::vector<int64_t> list;
  for (const int64_t run : {4, 2, 1})
    if (run == 1 || 8 * run < g.queries) list.push_back(run);
  return list;
}

struct TilesShape {
  int64_t run, block;  // keys of a block, whose tiles fit in shared memory
};

TilesShape tiles_shape(const AttentionGeometry& g, int variant) {
  return {runs(g)[static_cast<size_t>(variant)], g.size + g.v_size > 128 ? 32 : 64};
}

int tiles_variants(const Problem& problem, const Machine&) {
  return static_cast<int>(runs(cuda::attention_geometry(problem)).size());
}

Result<cuda::Source> tiles_source(const Problem& problem, int variant) {
  const TilesShape shape = tiles_shape(cuda::attention_geometry(problem), variant);
  return cuda::Source{cuda::attention_definitions(problem) +
                      fmt::format("#define RUN {}\n#define BLOCK {}\n", shape.run, shape.block) +
                      kernels::attention_tiles_cuh};
}

cuda::Launch tiles_launch(const Problem& problem, int variant) {
  const AttentionGeometry g = cuda::attention_geometry(problem);
  const auto [run, block] = tiles_shape(g, variant);
  const int64_t rows = 16 * run;
  const int64_t floats = g.size * (rows + 8 + block + 8) + block * (rows + 4) + block * g.v_size + 16;
  return {.grid = {static_cast<unsigned>(cuda::blocks(g.queries, rows)), static_cast<unsigned>(g.heads),
                   static_cast<unsigned>(g.batch)},
          .block = {256},
          .shared_bytes = static_cast<unsigned>(floats * 4)};
}

}  // namespace

std::span<const Tactic> cuda_attention_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<supports_mma, mma_source, mma_launch, mma_variants>("cuda.attention_mma"),
      cuda::row<supports_tiles, tiles_source, tiles_launch, tiles_variants>("cuda.attention_tiles", 1),
      cuda::row<supports, source, launch>("cuda.attention", 2)};
  return kRows;
}

}  // namespace hone
