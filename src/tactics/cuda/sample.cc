// GridSample and AffineGrid: a thread computes one result.
#include "ops/sample.h"

#include "ops/elements.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

std::string sample_supports(const Problem& problem) {
  if (problem.op.as<GridSample>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (!cuda::is_real_element(problem.inputs[1].dtype))
    return fmt::format("a grid of {}", name(problem.inputs[1].dtype));
  for (const TensorType* t : {&problem.inputs[0], &problem.inputs[1], &problem.outputs[0]})
    if (const int64_t count = element_count(dims_of(*t)); count == 0 || count > INT32_MAX)
      return count == 0 ? "empty" : "2^31 elements or more";
  return {};
}

// Along a dim, the neighbours FIRST to LAST of a position count. Place is double where rounding decides which one is
// the nearest, as it is in the reference.
constexpr const char* kPositions = R"cuda(
__device__ inline Place reflected(Place x, Place low, Place high) {
  const Place span = high - low;
  if (span <= 0) return low;
  if (x >= low && x <= high) return x;
  const Place over = x < low ? low - x : x - high, turns = floor(over / span), rest = over - turns * span;
  return (x < low) == (fmod(turns, (Place)2) == 0) ? low + rest : high - rest;
}
struct Axis {
  int size;
  Place x;  // the position among the elements
  int low;  // the neighbour that others are counted from
  __device__ Place first() const { return ALIGNED ? 0 : (Place)-0.5; }
  __device__ Place last() const { return size - (ALIGNED ? 1 : (Place)0.5); }
  __device__ Axis(Place v, int size) : size(size) {
    x = ALIGNED ? (v + 1) / 2 * (size - 1) : ((v + 1) * size - 1) / 2;
    x = isnan(x) ? -FAR : x < -FAR ? -FAR : x > FAR ? FAR : x;
    if (NEAREST) x = rint(x);
    if (x < first() || x > last()) {
      if (BORDER) x = x < 0 ? 0 : x > size - 1 ? size - 1 : x;
      if (REFLECTION) x = reflected(x, first(), last());
    }
    low = (int)(NEAREST ? trunc(x) : floor(x));
  }
  // The element that a neighbour stands for; -1 for a zero.
  __device__ int element(int i) const {
    int at = low + i;
    if (at >= 0 && at < size) return at;
    if (!BORDER && !REFLECTION) return -1;
    if (REFLECTION) at = (int)reflected(at, first(), last());
    return at < 0 ? 0 : at >= size ? size - 1 : at;
  }
  __device__ float weight(int i) const {
    const float d = fabsf((float)(x - (low + i)));
    if (FIRST == 0) return NEAREST ? 1 : 1 - d;
    return d <= 1 ? ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1 : ((d - 5) * d + 8) * d * CUBIC - 4 * CUBIC;
  }
};
)cuda";

Result<cuda::Source> sample_source(const Problem& problem) {
  const GridSample& op = *problem.op.as<GridSample>();
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  const size_t rank = x.size() - 2;
  const bool nearest = op.mode == "nearest", cubic = op.mode == "cubic";
  std::string axes, loops, index = "plane", weight = "1.0f";
  for (size_t d = 0; d < rank; ++d) {
    axes += fmt::format("  const Axis a{}((float)at[{}], {});\n", d, rank - 1 - d, x[2 + d]);
    loops += fmt::format(
        "  for (int i{0} = FIRST; i{0} <= LAST; ++i{0}) {{\n    const int e{0} = a{0}.element(i{0});\n"
        "    if (e{0} < 0) continue;\n    const float w{0} = {1} * a{0}.weight(i{0});\n",
        d, weight);
    index = fmt::format("({} * {} + e{})", index, x[2 + d], d);
    weight = fmt::format("w{}", d);
  }
  return cuda::Source{fmt::format(
      R"cuda(
typedef {0} T;
typedef {1} Place;
#define NEAREST {2:d}
#define FIRST {3}
#define LAST {4}
#define BORDER {5:d}
#define REFLECTION {6:d}
#define ALIGNED {7:d}
#define FAR ((Place)1e9)
#define CUBIC -0.75f
{8}
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x, const {9}* __restrict__ grid) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {10}) return;
  const int position = i % {11}, plane = i / {11};
  const auto* at = grid + ((i64)(plane / {12}) * {11} + position) * {13};
{14}  float sum = 0;
{15}    sum += {16} * (float)x[{17}];
  {18}
  y[i] = (T)sum;
}}
)cuda",
      cuda::element_type(problem.inputs[0].dtype), nearest ? "double" : "float", nearest, cubic ? -1 : 0,
      nearest ? 0
      : cubic ? 2
              : 1,
      op.padding == "border", op.padding == "reflection", op.align_corners, kPositions,
      cuda::element_type(problem.inputs[1].dtype), element_count(y), span_count(y, 2, static_cast<int64_t>(y.size())),
      x[1], rank, axes, loops, weight, index, std::string(rank, '}'))};
}

std::string affine_supports(const Problem& problem) {
  if (problem.op.as<AffineGrid>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  const int64_t count = element_count(dims_of(problem.outputs[0]));
  return count == 0 ? "empty" : count > INT32_MAX ? "2^31 elements or more" : "";
}

Result<cuda::Source> affine_source(const Problem& problem) {
  const bool aligned = problem.op.as<AffineGrid>()->align_corners;
  const Dims y = dims_of(problem.outputs[0]);
  const int64_t rank = y.back();
  std::string terms;
  int64_t below = rank;
  for (int64_t c = 0; c < rank; ++c) {
    const int64_t size = y[static_cast<size_t>(rank - c)];
    const std::string at = fmt::format("(float)(i / {} % {})", below, size);
    terms += fmt::format("  sum += (float)row[{}] * ({});\n", c,
                         !aligned   ? fmt::format("(2 * {} + 1) / {} - 1", at, size)
                         : size > 1 ? fmt::format("-1 + 2 * {} / {}", at, size - 1)
                                    : "-1");
    below *= size;
  }
  return cuda::Source{.text = fmt::format(R"cuda(
typedef {0} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ theta) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {1}) return;
  const T* row = theta + (i / {2} * {3} + i % {3}) * {4};
  float sum = row[{3}];
{5}  y[i] = (T)sum;
}}
)cuda",
                                          cuda::element_type(problem.inputs[0].dtype), element_count(y),
                                          element_count(y) / y[0], rank, rank + 1, terms),
                      .drops = cuda::drops_from(problem, 1)};
}

}  // namespace

std::span<const Tactic> cuda_sample_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<sample_supports, sample_source, cuda::launch_output>("cuda.grid_sample"),
      cuda::row<affine_supports, affine_source, cuda::launch_output>("cuda.affine_grid")};
  return kRows;
}

}  // namespace hone
