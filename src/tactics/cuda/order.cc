// Ops that need an order of elements: NaN comes after all numbers, and of equal elements the first is the better one.
#include <bit>

#include "ops/elements.h"
#include "ops/reduce.h"
#include "ops/sort.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

// `outer` rows of `inner` interleaved ones, of `extent` elements each.
struct Rows {
  int64_t outer, extent, inner;

  int64_t count() const { return outer * inner; }
};

Rows rows_along(const Dims& dims, int64_t axis) {
  const auto rank = static_cast<int64_t>(dims.size());
  const int64_t at = axis < 0 ? axis + rank : axis;
  return {span_count(dims, 0, at), dims[static_cast<size_t>(at)], span_count(dims, at + 1, rank)};
}

std::string refuse_rows(const Problem& problem) {
  if (!problem.is_static()) return "shapes are not fixed";
  const DType type = problem.inputs[0].dtype;
  if (cuda::element_type(type) == nullptr) return fmt::format("{} elements", name(type));
  if (problem.inputs[0].shape.rank() == 0) return "a scalar";
  for (const TensorType* t : {&problem.inputs[0], &problem.outputs[0]})
    if (const int64_t count = element_count(dims_of(*t)); count == 0 || count > INT32_MAX)
      return count == 0 ? "empty" : "2^31 elements or more";
  return {};
}

constexpr int64_t kLanes = 32;

std::string arg_supports(const Problem& problem) {
  return problem.op.as<ArgReduce>() == nullptr ? kAnotherOp : refuse_rows(problem);
}

Rows arg_rows(const Problem& problem) {
  return rows_along(dims_of(problem.inputs[0]), problem.op.as<ArgReduce>()->axis);
}

// Lanes that share a row: where the elements of neighbouring rows are neighbours, each has a row of its own.
int64_t arg_lanes(const Problem& problem) { return arg_rows(problem).inner >= kLanes ? 1 : kLanes; }

Result<cuda::Source> arg_source(const Problem& problem) {
  const ArgReduce& op = *problem.op.as<ArgReduce>();
  const Rows rows = arg_rows(problem);
  const bool is_real = cuda::is_real_element(problem.inputs[0].dtype);
  return cuda::Source{fmt::format(R"cuda(
#define EXTENT {0}
#define INNER {1}
#define LANES {2}
typedef {3} T;
typedef {4} Key;
__device__ inline bool less(Key a, Key b) {{ return {5}; }}
__device__ inline bool better(Key a, int i, Key b, int j) {{
  if ({6}) return true;
  return !({7}) && i {8} j;
}}
extern "C" __global__ void kernel(i64* __restrict__ y, const T* __restrict__ x) {{
  begin();
  const i64 thread = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  const int lane = thread % LANES, row = thread / LANES;
  if (row >= {9}) return;
  const T* from = x + (i64)(row / INNER) * (EXTENT * INNER) + row % INNER;
  int best = lane < EXTENT ? lane : 0;
  Key key = from[(i64)best * INNER];
  for (int i = lane + LANES; i < EXTENT; i += LANES) {{
    const Key other = from[(i64)i * INNER];
    if (better(other, i, key, best)) key = other, best = i;
  }}
#pragma unroll
  for (int offset = LANES / 2; offset > 0; offset /= 2) {{
    const Key other = __shfl_xor_sync(0xffffffffu, key, offset);
    const int i = __shfl_xor_sync(0xffffffffu, best, offset);
    if (better(other, i, key, best)) key = other, best = i;
  }}
  if (lane == 0) y[row] = best;
}}
)cuda",
                                  rows.extent, rows.inner, arg_lanes(problem),
                                  cuda::element_type(problem.inputs[0].dtype), is_real ? "float" : "i64",
                                  is_real ? "isnan(b) ? !isnan(a) : a < b" : "a < b",
                                  op.smallest ? "less(a, b)" : "less(b, a)", op.smallest ? "less(b, a)" : "less(a, b)",
                                  op.select_last ? ">" : "<", rows.count())};
}

cuda::Launch arg_launch(const Problem& problem) {
  return cuda::elementwise(arg_rows(problem).count() * arg_lanes(problem));
}

// The keys that a block sorts at once.
constexpr int64_t kMostKeys = 4096;

Rows top_rows(const Problem& problem) { return rows_along(dims_of(problem.inputs[0]), problem.op.as<TopK>()->axis); }

int64_t top_count(const Problem& problem) {
  return rows_along(dims_of(problem.outputs[0]), problem.op.as<TopK>()->axis).extent;
}

std::string top_supports(const Problem& problem) {
  if (problem.op.as<TopK>() == nullptr) return kAnotherOp;
  if (std::string reason = refuse_rows(problem); !reason.empty()) return reason;
  if (problem.inputs[0].dtype == DType::i64) return "elements of 64 bits";
  if (top_rows(problem).extent > kMostKeys && top_count(problem) > kMostKeys / 2)
    return fmt::format("more than {} of rows longer than {}", kMostKeys / 2, kMostKeys);
  return {};
}

// A block a row: it sorts as many elements as it has room for, keeps the best, and sorts those with the next ones. A
// key is the element, so that the better one is less, and the index behind it.
// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> top_source(const Problem& problem) {
  const Rows rows = top_rows(problem);
  const DType type = problem.inputs[0].dtype;
  const bool fits = rows.extent <= kMostKeys, two = problem.outputs.size() > 1;
  const auto power = [](int64_t n) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))); };
  return cuda::Source{
      .text = fmt::format(R"cuda(
#define EXTENT {0}
#define INNER {1}
#define K {2}
#define KEYS {3}
#define THREADS {4}
typedef {5} T;
{6}
__device__ inline u64 key_of(T value, int index) {{
  const unsigned order = order_of(value);
  return (u64)({7}order) << 32 | (unsigned)index;
}}
extern "C" __global__ void __launch_bounds__(THREADS) kernel(T* __restrict__ y{8}, const T* __restrict__ x) {{
  begin();
  __shared__ u64 keys[KEYS];
  const int thread = threadIdx.x;
  const i64 outer = blockIdx.x / INNER, inner = blockIdx.x % INNER;
  const T* from = x + outer * EXTENT * INNER + inner;
  for (int next = 0, kept = 0; next < EXTENT; next += KEYS - kept, kept = {9}) {{
    __syncthreads();
    for (int i = kept + thread; i < KEYS; i += THREADS) {{
      const int index = next + i - kept;
      keys[i] = index < EXTENT ? key_of(from[(i64)index * INNER], index) : ~0ULL;
    }}
    for (int size = 2; size <= KEYS; size *= 2)
      for (int stride = size / 2; stride > 0; stride /= 2) {{
        __syncthreads();
        for (int i = thread; i < KEYS / 2; i += THREADS) {{
          const int low = 2 * i - (i & (stride - 1)), high = low + stride;
          const u64 a = keys[low], b = keys[high];
          if ((a > b) == ((low & size) == 0)) keys[low] = b, keys[high] = a;
        }}
      }}
  }}
  __syncthreads();
  for (int i = thread; i < K; i += THREADS) {{
    const int index = (int)(unsigned)keys[i];
    const i64 to = (outer * K + i) * INNER + inner;
    y[to] = from[(i64)index * INNER];
{10}  }}
}}
)cuda",
                          rows.extent, rows.inner, top_count(problem), fits ? power(rows.extent) : kMostKeys,
                          cuda::kElementwiseThreads, cuda::element_type(type),
                          cuda::is_real_element(type)
                              ? "__device__ inline unsigned order_of(float value) {\n"
                                "  if (isnan(value)) return 0xffffffffu;\n"
                                "  const unsigned bits = __float_as_uint(value + 0.0f);\n"
                                "  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;\n}"
                              : fmt::format("__device__ inline unsigned order_of(i64 value) {{ return (unsigned)(value "
                                            "+ {}LL); }}",
                                            is_signed(type) ? 0x80000000LL : 0),
                          problem.op.as<TopK>()->largest ? "~" : "", two ? ", i64* __restrict__ indices" : "",
                          fits ? 0 : top_count(problem), two ? "    indices[to] = index;\n" : ""),
      .drops = cuda::drops_from(problem, 1)};
}

cuda::Launch top_launch(const Problem& problem) {
  return {{static_cast<unsigned>(top_rows(problem).count())}, {cuda::kElementwiseThreads}};
}

}  // namespace

std::span<const Tactic> cuda_order_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<arg_supports, arg_source, arg_launch>("cuda.arg_reduce"),
                                     cuda::row<top_supports, top_source, top_launch>("cuda.top_k")};
  return kRows;
}

}  // namespace hone
