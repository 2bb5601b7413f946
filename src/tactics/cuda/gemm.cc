#include "tactics/cuda/gemm.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cuda/copy_async.cuh.h"
#include "kernels/cuda/gemm.cuh.h"
#include "kernels/cuda/mma.cuh.h"
#include "kernels/cuda/simt.cuh.h"
#include "ops/elements.h"
#include "tactics/cuda/source.h"

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
  int m, n, warps_m, warps_n, stages, groups;
};

// By the shared memory that they need, so that a GPU has the first ones.
constexpr MmaTile kMmaTiles[] = {{64, 32, 2, 1, 4, 1},   {64, 64, 2, 2, 4, 1}, {128, 64, 2, 2, 3, 1},
                                 {128, 128, 2, 4, 3, 1}, {64, 64, 2, 2, 3, 2}, {64, 32, 2, 1, 3, 4},
                                 {32, 32, 1, 1, 3, 8}};
constexpr int kMmaPitch = 36;  // words: PITCH of the kernel

struct SimtTile {
  int warps_m, warps_n, thread_m, thread_n, stages;

  int m() const { return 8 * warps_m * thread_m; }
  int n() const { return 4 * warps_n * thread_n; }
};

constexpr SimtTile kSimtTiles[] = {{2, 2, 8, 8, 3}, {1, 4, 8, 8, 4}, {2, 4, 8, 8, 3}, {1, 4, 8, 4, 4},
                                   {1, 2, 8, 4, 4}, {2, 4, 4, 8, 4}, {1, 2, 4, 8, 4}, {2, 4, 4, 4, 4}};
constexpr int kSimtSlice = 16;  // TILE_K of the kernel

// For the slices that are on their way, and after them for the groups' sums.
int shared_bytes(const MmaTile& t) {
  return t.groups * std::max(t.stages * (t.m + t.n) * kMmaPitch, t.m * (t.n + 4)) * static_cast<int>(sizeof(float));
}

Stream::Dim3 grid_of(const Gemm& gemm, int tile_m, int tile_n) {
  return {static_cast<unsigned>(blocks(gemm.m, tile_m)), static_cast<unsigned>(blocks(gemm.n, tile_n)),
          static_cast<unsigned>(gemm.batch)};
}

std::string size_defines(const Gemm& gemm, const std::string& parameters) {
  return fmt::format("typedef {} Sum;\n#define N {}\n#define K {}\n#define RUN {}\n{}", sum_type(gemm.type), gemm.n,
                     gemm.k, gemm.n % 4 == 0 ? 4 : 1, define_parameters(parameters + kRows));
}

const Tile& tile_of(const Gemm& gemm) {
  for (const Tile& tile : kTiles)
    if (blocks(gemm.m, tile.m) * blocks(gemm.n, tile.n) * gemm.batch >= kEnoughBlocks) return tile;
  return kTiles[std::size(kTiles) - 1];
}

// The most that a block may have, by the CUDA C++ Programming Guide's table of compute capabilities.
int most_shared_bytes(std::string_view arch) {
  if (arch == "sm_80" || arch == "sm_87") return 163 << 10;
  if (arch == "sm_90" || arch.starts_with("sm_10")) return 227 << 10;
  return 99 << 10;
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
  return fmt::format("{}#define TILE_M {}\n#define TILE_N {}\n#define THREAD_M {}\n#define THREAD_N {}\n",
                     size_defines(gemm, parameters), tile.m, tile.n, tile.thread_m, tile.thread_n) +
         functions + kernels::gemm_cuh;
}

Launch gemm_launch(const Gemm& gemm) {
  const Tile& tile = tile_of(gemm);
  return {.grid = grid_of(gemm, tile.m, tile.n), .block = {256}, .extents = {static_cast<int>(gemm.m)}};
}

std::string refuse_mma(const Gemm& gemm) {
  if (gemm.k * static_cast<int64_t>(size_of(gemm.type)) % 16 != 0) return "rows are not a multiple of 16 bytes";
  return refuse_gemm(gemm);
}

int mma_variants(const Problem&, const Machine& machine) {
  const auto fits = [limit = most_shared_bytes(machine.cuda_arch)](const MmaTile& t) {
    return shared_bytes(t) <= limit;
  };
  return static_cast<int>(std::find_if_not(std::begin(kMmaTiles), std::end(kMmaTiles), fits) - std::begin(kMmaTiles));
}

std::string mma_source(const Gemm& gemm, int variant, Operands operands, const std::string& parameters,
                       const std::string& functions) {
  const MmaTile& tile = kMmaTiles[variant];
  const char* instruction = gemm.type == DType::f32        ? "k8.row.col.f32.tf32.tf32.f32"
                            : gemm.type == DType::f16      ? "k16.row.col.f32.f16.f16.f32"
                            : gemm.type == DType::i8       ? "k32.row.col.s32.s8.s8.s32"
                            : gemm.type == DType::f8e4m3fn ? "k32.row.col.f32.e4m3.e4m3.f32"
                                                           : "k16.row.col.f32.bf16.bf16.f32";
  return fmt::format(
             "{}#define TILE_M {}\n#define TILE_N {}\n#define WARPS_M {}\n#define WARPS_N {}\n#define STAGES "
             "{}\n#define GROUPS {}\n#define B_ROUNDED {}\n#define GATHERED {}\n"
             "typedef {} A;\n#define MMA \"mma.sync.aligned.m16n8{}\"\n#define IN_SUM \"{}\"\n",
             size_defines(gemm, parameters), tile.m, tile.n, tile.warps_m, tile.warps_n, tile.stages, tile.groups,
             operands.b_rounded, operands.gathered ? 1 : 0, element_type(gemm.type), instruction,
             gemm.type == DType::i8 ? "+r" : "+f") +
         functions + kernels::copy_async_cuh + kernels::mma_cuh;
}

Launch mma_launch(const Gemm& gemm, int variant) {
  const MmaTile& tile = kMmaTiles[variant];
  return {.grid = grid_of(gemm, tile.m, tile.n),
          .block = {static_cast<unsigned>(32 * tile.warps_m * tile.warps_n * tile.groups)},
          .shared_bytes = static_cast<unsigned>(shared_bytes(tile)),
          .extents = {static_cast<int>(gemm.m)}};
}

std::string refuse_simt(const Gemm& gemm) {
  return gemm.type == DType::f32 ? refuse_mma(gemm) : fmt::format("{} elements", name(gemm.type));
}

int simt_variants(const Problem&, const Machine&) { return static_cast<int>(std::size(kSimtTiles)); }

std::string simt_source(const Gemm& gemm, int variant, const std::string& parameters, const std::string& functions) {
  const SimtTile& tile = kSimtTiles[variant];
  return fmt::format(
             "{}typedef float A;\n#define WARPS_M {}\n#define WARPS_N {}\n#define THREAD_M {}\n#define THREAD_N "
             "{}\n#define STAGES {}\n",
             size_defines(gemm, parameters), tile.warps_m, tile.warps_n, tile.thread_m, tile.thread_n, tile.stages) +
         functions + kernels::copy_async_cuh + kernels::simt_cuh;
}

Launch simt_launch(const Gemm& gemm, int variant) {
  const SimtTile& tile = kSimtTiles[variant];
  return {.grid = grid_of(gemm, tile.m(), tile.n()),
          .block = {static_cast<unsigned>(32 * tile.warps_m * tile.warps_n)},
          .shared_bytes = static_cast<unsigned>(tile.stages * (tile.m() + tile.n()) * kSimtSlice * sizeof(float)),
          .extents = {static_cast<int>(gemm.m)}};
}

bool has_fp8(std::string_view arch) { return std::atoi(arch.data() + 3) >= 89; }

std::string refuse_tf32(DType type, const Machine& machine) {
  if (type == DType::i32) return "i32 elements";
  if (type == DType::f8e4m3fn && !has_fp8(machine.cuda_arch)) return machine.cuda_arch + " has no fp8";
  return type == DType::f32 && !machine.tf32 ? "TF32 is not among the precisions allowed" : "";
}

float round_to_tf32(float value) {
  constexpr uint32_t kDropped = (1u << 13) - 1;
  if (!std::isfinite(value)) return value;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + (kDropped + 1) / 2) & ~kDropped);
}

Tensor permuted(const Tensor& weights, const std::vector<int64_t>& perm) {
  const Dims own = strides_of(weights.dims());
  Dims dims, strides;
  for (int64_t p : perm) {
    dims.push_back(weights.dims()[static_cast<size_t>(p)]);
    strides.push_back(own[static_cast<size_t>(p)]);
  }
  return copy_strided(weights, dims, strides);
}

Tensor rounded_to_tf32(const Tensor& weights) {
  Tensor rounded(weights.type(), weights.dims());
  const float* from = weights.data<float>();
  std::transform(from, from + weights.count(), rounded.mutable_data<float>(), round_to_tf32);
  return rounded;
}

Tensor permuted_for_tensor_cores(const Tensor& weights, const std::vector<int64_t>& perm) {
  const Tensor packed = permuted(weights, perm);
  return packed.type() == DType::f32 ? rounded_to_tf32(packed) : packed;
}

std::string define_parameters(const std::string& parameters) {
  return fmt::format("#define PARAMETERS {}\n#define ARGUMENTS {}\n", parameters, arguments_of(parameters));
}

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

int64_t blocks(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

}  // namespace hone::cuda
