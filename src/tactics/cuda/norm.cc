// Norms over channels.
#include "ops/norm.h"

#include "kernels/cuda/block.cuh.h"
#include "ops/elements.h"
#include "ops/lrn.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kTile = 32;  // channels

struct GroupShape {
  int64_t batch, channels, positions, each;  // each: channels of a group
};

GroupShape group_shape(const Problem& problem) {
  const GroupNorm& op = *problem.op.as<GroupNorm>();
  const Dims x = dims_of(problem.inputs[0]);
  const int64_t channels = op.channels_last ? x.back() : x[1];
  return {x[0], channels, element_count(x) / (x[0] * channels), op.groups > 0 ? channels / op.groups : 1};
}

std::string group_supports(const Problem& problem) {
  if (problem.op.as<GroupNorm>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  return element_count(dims_of(problem.inputs[0])) == 0 ? "empty" : "";
}

struct Affine {
  std::string parameters, apply;
};

// What the scale and the bias of channel `c` do to `v`.
Affine affine_of(const Problem& problem) {
  Affine affine;
  for (size_t i = 1; i < 3; ++i) {
    if (!has(problem, i)) continue;
    affine.parameters += fmt::format(", const {}* p{}", cuda::element_type(problem.inputs[i].dtype), i);
    affine.apply += fmt::format("    v {} (float)p{}[c];\n", i == 1 ? "*=" : "+=", i);
  }
  return affine;
}

// A block a group. Two passes: the variance is that of what is left when the mean is gone.
Result<cuda::Source> group_source(const Problem& problem) {
  const GroupNorm& op = *problem.op.as<GroupNorm>();
  const GroupShape s = group_shape(problem);
  const Affine affine = affine_of(problem);
  return cuda::Source{kernels::block_cuh +
                      fmt::format(R"cuda(
#define EACH {0}
#define POSITIONS {1}
#define CHANNELS {2}
#define THREADS {3}
typedef {4} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x{5}) {{
  begin();
  const i64 first = blockIdx.x % (CHANNELS / EACH) * EACH, count = (i64)EACH * POSITIONS;
  const i64 image = (i64)(blockIdx.x / (CHANNELS / EACH)) * CHANNELS * POSITIONS;
  float mean = 0, square = 0;
  for (i64 i = threadIdx.x; i < count; i += THREADS) mean += x[image + {6}];
  mean = reduce_block<combine_sum>(mean, 0) / count;
  for (i64 i = threadIdx.x; i < count; i += THREADS) {{
    const float v = (float)x[image + {6}] - mean;
    square += v * v;
  }}
  const float scale = 1 / sqrtf(reduce_block<combine_sum>(square, 0) / count + {7});
  for (i64 i = threadIdx.x; i < count; i += THREADS) {{
    const i64 c = first + {8}, at = image + {6};
    float v = ((float)x[at] - mean) * scale;
{9}    y[at] = (T)v;
  }}
}}
)cuda",
                                  s.each, s.positions, s.channels, kThreads,
                                  cuda::element_type(problem.inputs[0].dtype), affine.parameters,
                                  op.channels_last ? "i / EACH * CHANNELS + first + i % EACH" : "first * POSITIONS + i",
                                  cuda::float_literal(op.epsilon), op.channels_last ? "i % EACH" : "i / POSITIONS",
                                  affine.apply)};
}

cuda::Launch group_launch(const Problem& problem) {
  const GroupShape s = group_shape(problem);
  return {{static_cast<unsigned>(s.batch * s.channels / s.each)}, {kThreads}};
}

std::string tile_supports(const Problem& problem) {
  if (std::string reason = group_supports(problem); !reason.empty()) return reason;
  if (!problem.op.as<GroupNorm>()->channels_last) return "activations are not channels-last";
  return kTile % group_shape(problem).each != 0 ? "groups do not tile 32 channels" : "";
}

// A block has the groups of 32 neighbouring channels, a lane one of them, and 8 warps share the positions.
Result<cuda::Source> tile_source(const Problem& problem) {
  const GroupShape s = group_shape(problem);
  const Affine affine = affine_of(problem);
  return cuda::Source{fmt::format(R"cuda(
#define EACH {0}
#define POSITIONS {1}
#define CHANNELS {2}
#define TILES {3}
typedef {4} T;
// The sum over the positions and the channels of the lane's group.
__device__ inline float sum_of_group(float value) {{
  __shared__ float partial[8][32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  __syncthreads();
  partial[warp][lane] = value;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < 8; ++w)
    for (int k = 0; k < EACH; ++k) sum += partial[w][lane / EACH * EACH + k];
  return sum;
}}
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x{5}) {{
  begin();
  const int c = blockIdx.x % TILES * 32 + threadIdx.x % 32, first = threadIdx.x / 32;
  const int end = c < CHANNELS ? POSITIONS : 0;
  const i64 image = (i64)(blockIdx.x / TILES) * CHANNELS * POSITIONS + c;
  float sum = 0, square = 0;
  for (int p = first; p < end; p += 8) sum += x[image + (i64)p * CHANNELS];
  const float mean = sum_of_group(sum) / ((float)EACH * POSITIONS);
  for (int p = first; p < end; p += 8) {{
    const float v = (float)x[image + (i64)p * CHANNELS] - mean;
    square += v * v;
  }}
  const float scale = 1 / sqrtf(sum_of_group(square) / ((float)EACH * POSITIONS) + {6});
  for (int p = first; p < end; p += 8) {{
    float v = ((float)x[image + (i64)p * CHANNELS] - mean) * scale;
{7}    y[image + (i64)p * CHANNELS] = (T)v;
  }}
}}
)cuda",
                                  s.each, s.positions, s.channels, (s.channels + kTile - 1) / kTile,
                                  cuda::element_type(problem.inputs[0].dtype), affine.parameters,
                                  cuda::float_literal(problem.op.as<GroupNorm>()->epsilon), affine.apply)};
}

cuda::Launch tile_launch(const Problem& problem) {
  const GroupShape s = group_shape(problem);
  return {{static_cast<unsigned>(s.batch * ((s.channels + kTile - 1) / kTile))}, {kThreads}};
}

std::string lrn_supports(const Problem& problem) {
  if (problem.op.as<Lrn>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  return element_count(dims_of(problem.inputs[0])) == 0 ? "empty" : "";
}

Result<cuda::Source> lrn_source(const Problem& problem) {
  const Lrn& op = *problem.op.as<Lrn>();
  const Dims x = dims_of(problem.inputs[0]);
  return cuda::Source{
      fmt::format(R"cuda(
#define POSITIONS {0}
typedef {1} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {2}) return;
  const i64 c = i / POSITIONS % {3}, from = most(c - {4}, 0LL), to = least(c + {5}, {3} - 1LL);
  float squares = 0;
  for (i64 k = from; k <= to; ++k) {{
    const float v = x[i + (k - c) * POSITIONS];
    squares += v * v;
  }}
  y[i] = (T)((float)x[i] / powf({6} + {7} * squares, {8}));
}}
)cuda",
                  span_count(x, 2, static_cast<int64_t>(x.size())), cuda::element_type(problem.inputs[0].dtype),
                  element_count(x), x[1], (op.size - 1) / 2, op.size / 2, cuda::float_literal(op.bias),
                  cuda::float_literal(op.alpha / static_cast<double>(op.size)), cuda::float_literal(op.beta))};
}

}  // namespace

std::span<const Tactic> cuda_norm_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<tile_supports, tile_source, tile_launch>("cuda.group_norm_columns"),
                                     cuda::row<group_supports, group_source, group_launch>("cuda.group_norm", 1),
                                     cuda::row<lrn_supports, lrn_source, cuda::launch_output>("cuda.lrn")};
  return kRows;
}

}  // namespace hone
