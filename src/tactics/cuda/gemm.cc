#include "tactics/cuda/gemm.h"

#include <bit>
#include <cmath>

#include "kernels/cuda/gemm.cuh.h"
#include "kernels/cuda/mma_tf32.cuh.h"

namespace hone::cuda {
namespace {

struct Tile {
  int m, n, thread_m, thread_n;
};

// Largest first; each with 256 threads.
constexpr Tile kTiles[] = {{128, 128, 8, 8}, {128, 64, 8, 4}, {64, 64, 4, 4}};
constexpr int64_t kSmallestTile = 32;
constexpr int64_t kEnoughBlocks = 132;  // to fill a large GPU once
constexpr int64_t kMostBlocks = 65535;  // of a grid's second and third dimension

struct MmaTile {
  int m, n, warps_m, warps_n, stages;
};

constexpr MmaTile kMmaTiles[kMmaVariants] = {{128, 128, 2, 4, 3}, {128, 64, 2, 2, 3}, {64, 128, 2, 2, 3}, {64, 64, 2, 2, 4}, {64, 32, 2, 1, 4}};
constexpr int kMmaPitch = 36;  // floats: PITCH of the kernel

int64_t blocks(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

Stream::Dim3 grid_of(const Gemm& gemm, int tile_m, int tile_n) {
  return {static_cast<unsigned>(blocks(gemm.m, tile_m)), static_cast<unsigned>(blocks(gemm.n, tile_n)), static_cast<unsigned>(gemm.batch)};
}

// "const float* x, float* y": the last word of each is its name.
std::string arguments_of(const std::string& parameters) {
  std::string arguments;
  for (size_t at = 0; at < parameters.size();) {
    const size_t end = std::min(parameters.find(',', at), parameters.size());
    const size_t name = parameters.find_last_of(" *", end - 1) + 1;
    arguments += (arguments.empty() ? "" : ", ") + parameters.substr(name, end - name);
    at = end + 1;
  }
  return arguments;
}

std::string size_defines(const Gemm& gemm, const std::string& parameters) {
  return fmt::format("#define M {}\n#define N {}\n#define K {}\n#define PARAMETERS {}\n#define ARGUMENTS {}\n", gemm.m, gemm.n, gemm.k, parameters,
                     arguments_of(parameters));
}

const Tile& tile_of(const Gemm& gemm) {
  for (const Tile& tile : kTiles)
    if (blocks(gemm.m, tile.m) * blocks(gemm.n, tile.n) * gemm.batch >= kEnoughBlocks) return tile;
  return kTiles[std::size(kTiles) - 1];
}

}  // namespace

std::string refuse_gemm(const Gemm& gemm) {
  if (gemm.m < 1 || gemm.n < 1 || gemm.k < 1 || gemm.batch < 1) return "empty";
  if (gemm.m > INT32_MAX / 2 || gemm.n > INT32_MAX / 2 || gemm.k > INT32_MAX / 2) return "a dim over 2^30";
  if (gemm.batch > kMostBlocks || blocks(gemm.n, kSmallestTile) > kMostBlocks) return "too many blocks for a grid";
  return {};
}

std::string gemm_source(const Gemm& gemm, const std::string& parameters, const std::string& functions) {
  const Tile& tile = tile_of(gemm);
  return fmt::format("{}#define TILE_M {}\n#define TILE_N {}\n#define THREAD_M {}\n#define THREAD_N {}\n", size_defines(gemm, parameters), tile.m,
                     tile.n, tile.thread_m, tile.thread_n) +
         functions + kernels::gemm_cuh;
}

Launch gemm_launch(const Gemm& gemm) {
  const Tile& tile = tile_of(gemm);
  return {grid_of(gemm, tile.m, tile.n), {256}};
}

std::string refuse_mma(const Gemm& gemm) {
  if (gemm.k % 4 != 0) return "rows are not a multiple of 16 bytes";
  return refuse_gemm(gemm);
}

std::string mma_source(const Gemm& gemm, int variant, bool b_rounded, const std::string& parameters, const std::string& functions) {
  const MmaTile& tile = kMmaTiles[variant];
  return fmt::format("{}#define TILE_M {}\n#define TILE_N {}\n#define WARPS_M {}\n#define WARPS_N {}\n#define STAGES {}\n#define B_ROUNDED {}\n",
                     size_defines(gemm, parameters), tile.m, tile.n, tile.warps_m, tile.warps_n, tile.stages, b_rounded ? 1 : 0) +
         functions + kernels::mma_tf32_cuh;
}

Launch mma_launch(const Gemm& gemm, int variant) {
  const MmaTile& tile = kMmaTiles[variant];
  return {grid_of(gemm, tile.m, tile.n), {static_cast<unsigned>(32 * tile.warps_m * tile.warps_n)},
          static_cast<unsigned>(tile.stages * (tile.m + tile.n) * kMmaPitch * static_cast<int>(sizeof(float)))};
}

float round_to_tf32(float value) {
  constexpr uint32_t kDropped = (1u << 13) - 1;
  if (!std::isfinite(value)) return value;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + (kDropped + 1) / 2) & ~kDropped);
}

}  // namespace hone::cuda
