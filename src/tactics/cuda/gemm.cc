#include "tactics/cuda/gemm.h"

#include "kernels/cuda/gemm.cuh.h"

namespace hone::cuda {
namespace {

struct Tile {
  int m, n, thread_m, thread_n;
};

// Largest first; each with 256 threads.
constexpr Tile kTiles[] = {{128, 128, 8, 8}, {128, 64, 8, 4}, {64, 64, 4, 4}};
constexpr int64_t kEnoughBlocks = 132;  // to fill a large GPU once
constexpr int64_t kMostBlocks = 65535;  // of a grid's second and third dimension

int64_t blocks(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

const Tile& tile_of(const Gemm& gemm) {
  for (const Tile& tile : kTiles)
    if (blocks(gemm.m, tile.m) * blocks(gemm.n, tile.n) * gemm.batch >= kEnoughBlocks) return tile;
  return kTiles[std::size(kTiles) - 1];
}

}  // namespace

std::string refuse_gemm(const Gemm& gemm) {
  if (gemm.m < 1 || gemm.n < 1 || gemm.k < 1 || gemm.batch < 1) return "empty";
  if (gemm.m > INT32_MAX / 2 || gemm.n > INT32_MAX / 2 || gemm.k > INT32_MAX / 2) return "a dim over 2^30";
  if (gemm.batch > kMostBlocks || blocks(gemm.n, kTiles[std::size(kTiles) - 1].n) > kMostBlocks) return "too many blocks for a grid";
  return {};
}

std::string gemm_source(const Gemm& gemm, const std::string& parameters, const std::string& functions) {
  const Tile& tile = tile_of(gemm);
  std::string arguments;
  // "const float* x, float* y": the last word of each is its name.
  for (size_t at = 0; at < parameters.size();) {
    const size_t end = std::min(parameters.find(',', at), parameters.size());
    const size_t name = parameters.find_last_of(" *", end - 1) + 1;
    arguments += (arguments.empty() ? "" : ", ") + parameters.substr(name, end - name);
    at = end + 1;
  }
  return fmt::format("#define M {}\n#define N {}\n#define K {}\n#define TILE_M {}\n#define TILE_N {}\n#define THREAD_M {}\n#define THREAD_N {}\n"
                     "#define PARAMETERS {}\n#define ARGUMENTS {}\n",
                     gemm.m, gemm.n, gemm.k, tile.m, tile.n, tile.thread_m, tile.thread_n, parameters, arguments) +
         functions + kernels::gemm_cuh;
}

Launch gemm_launch(const Gemm& gemm) {
  const Tile& tile = tile_of(gemm);
  return {{static_cast<unsigned>(blocks(gemm.m, tile.m)), static_cast<unsigned>(blocks(gemm.n, tile.n)), static_cast<unsigned>(gemm.batch)}, {256}};
}

}  // namespace hone::cuda
