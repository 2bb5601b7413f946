#include "ops/cumulate.h"

#include "ops/elements.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

constexpr int64_t kMostBlocks = 4096;
constexpr int64_t kLanes = 32;

std::string supports(const Problem& problem) {
  if (problem.op.as<Cumulate>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const DType type = problem.inputs[0].dtype;
  if (cuda::element_type(type) == nullptr) return fmt::format("{} elements", name(type));
  if (element_count(dims_of(problem.inputs[0])) == 0 || problem.inputs[0].shape.rank() == 0) return "empty or a scalar";
  return cuda::refuse_unless_constant(problem, 1);
}

// Where the elements of neighbouring rows are neighbours, each lane has a row; else a warp has one, 32 steps at a time.
// An engine that is loaded does not know the axis: the grid is the same for all, and goes over the rows.
Result<cuda::Source> source(const Problem& problem) {
  const Cumulate& op = *problem.op.as<Cumulate>();
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  HONE_TRY(const int64_t axis, normalize_axis(problem.constants[1].int_at(0), rank));
  const int64_t extent = x[static_cast<size_t>(axis)], inner = span_count(x, axis + 1, rank),
                lanes = inner >= kLanes ? 1 : kLanes;
  const bool is_real = cuda::is_real_element(problem.inputs[0].dtype), sum = op.kind == "sum";
  return cuda::Source{
      .text =
          fmt::format(R"cuda(
#define EXTENT {0}
#define INNER {1}
#define LANES {2}
typedef {3} T;
typedef {4} Sum;
__device__ inline Sum combine(Sum a, Sum b) {{ return {5}; }}
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x) {{
  begin();
  const i64 thread = (i64)blockIdx.x * blockDim.x + threadIdx.x, rows = (i64)gridDim.x * blockDim.x / LANES;
  const int lane = thread % LANES;
  for (i64 row = thread / LANES; row < {6}; row += rows) {{
    const i64 base = row / INNER * EXTENT * INNER + row % INNER;
    Sum carry = {7};
    for (i64 first = 0; first < EXTENT; first += LANES) {{
      const i64 step = first + lane, at = base + ({8}) * INNER;
      Sum here = {7};
      if (step < EXTENT) here = x[at];
      for (int offset = 1; offset < LANES; offset *= 2) {{
        const Sum before = __shfl_up_sync(0xffffffffu, here, offset);
        if (lane >= offset) here = combine(before, here);
      }}
      here = combine(carry, here);
      Sum result = {9};
      if (lane == 0) result = {10};
      if (step < EXTENT) y[at] = (T)result;
      carry = {11};
    }}
  }}
}}
)cuda",
                      extent, inner, lanes, cuda::element_type(problem.inputs[0].dtype), is_real ? "float" : "i64",
                      is_real ? (sum ? "a + b" : "a * b") : (sum ? "(i64)((u64)a + (u64)b)" : "(i64)((u64)a * (u64)b)"),
                      element_count(x) / extent, sum ? 0 : 1, op.reverse ? "EXTENT - 1 - step" : "step",
                      op.exclusive && lanes > 1 ? "__shfl_up_sync(0xffffffffu, here, 1)" : "here",
                      op.exclusive ? "carry" : "here", lanes > 1 ? "__shfl_sync(0xffffffffu, here, 31)" : "here"),
      .drops = cuda::drops_from(problem, 1)};
}

cuda::Launch launch(const Problem& problem) {
  cuda::Launch launch = cuda::elementwise(element_count(dims_of(problem.inputs[0])));
  launch.grid.x = std::min(launch.grid.x, static_cast<unsigned>(kMostBlocks));
  return launch;
}

}  // namespace

std::span<const Tactic> cuda_cumulate_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.cumulate")};
  return kRows;
}

}  // namespace hone
