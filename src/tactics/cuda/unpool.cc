// MaxUnpool and Col2Im: a thread computes one result.
#include "ops/unpool.h"

#include "ops/elements.h"
#include "ops/window.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

std::string refuse_large(const Problem& problem) {
  for (const TensorType& t : {problem.inputs[0], problem.outputs[0]})
    if (const int64_t count = element_count(dims_of(t)); count == 0 || count > INT32_MAX)
      return count == 0 ? "empty" : "2^31 elements or more";
  return {};
}

// The dims that indices count in: those of the output, unless they are given apart.
Dims unpooled(const Problem& problem) {
  const MaxUnpool& op = *problem.op.as<MaxUnpool>();
  Dims dims = dims_of(problem.inputs[0]);
  for (size_t d = 0; d < op.kernel.size(); ++d)
    dims[2 + d] = (dims[2 + d] - 1) * op.strides[d] + op.kernel[d] - op.pads[d] - op.pads[op.kernel.size() + d];
  return dims;
}

std::string unpool_supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<MaxUnpool>(problem); !reason.empty()) return reason;
  if (std::string reason = refuse_large(problem); !reason.empty()) return reason;
  if (dims_of(problem.inputs[1]) != dims_of(problem.inputs[0])) return "indices that do not fit the data";
  const auto bytes = checked_bytes(DType::i8, unpooled(problem));
  return bytes.ok() && *bytes > 0 && *bytes <= INT32_MAX ? "" : "empty, or 2^31 elements or more";
}

// The last of several elements with one index counts: a block finds it for every index.
Result<cuda::Source> unpool_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), dims = unpooled(problem), y = dims_of(problem.outputs[0]);
  std::string inside = "true";
  for (size_t d = 0, rank = y.size(); d < rank; ++d)
    if (y[d] > dims[d])
      inside += fmt::format(" && i / {} % {} < {}",
                            span_count(y, static_cast<int64_t>(d) + 1, static_cast<int64_t>(rank)), y[d], dims[d]);
  return cuda::Source{.text = fmt::format(R"cuda(
#define COUNT {0}
typedef {1} T;
#define PARAMETERS \
  T *__restrict__ y, const T *__restrict__ x, const i64 *__restrict__ indices, int *__restrict__ found, int *fault
extern "C" __global__ void before(PARAMETERS) {{
  begin();
  for (int i = threadIdx.x; i < COUNT; i += blockDim.x) found[i] = -1;
  __syncthreads();
  for (int k = threadIdx.x; k < {2}; k += blockDim.x) {{
    const i64 index = indices[k];
    if (index >= 0 && index < COUNT) atomicMax(found + index, k);
    else *fault = 1;
  }}
}}
extern "C" __global__ void kernel(PARAMETERS) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {3}) return;
  const int k = {4} ? found[{5}] : -1;
  y[i] = k < 0 ? 0 : x[k];
}}
)cuda",
                                          element_count(dims), cuda::moved_type(problem), element_count(x),
                                          element_count(y), inside, cuda::strided_index(y, strides_of(dims), 0, "i")),
                      .drops = cuda::drops_from(problem, 2)};
}

cuda::Launch unpool_launch(const Problem& problem) {
  cuda::Launch launch = cuda::launch_output(problem);
  launch.before = {.grid = {1}, .block = {1024}};
  launch.workspace_bytes = 4 * element_count(unpooled(problem));
  launch.fault = "an index is outside of the image";
  return launch;
}

std::string columns_supports(const Problem& problem) {
  if (problem.op.as<Col2Im>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_unless_constant(problem, 1); !reason.empty()) return reason;
  return refuse_large(problem);
}

// A loop a dim over the taps of a block, which skips those that no block has at the result's place.
Result<cuda::Source> columns_source(const Problem& problem) {
  const Col2Im& op = *problem.op.as<Col2Im>();
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]), block = problem.constants[2].to_ints();
  const size_t rank = block.size();
  const std::vector<int64_t> ones(rank, 1), zeros(2 * rank, 0);
  HONE_TRY(const auto shape, windows(block, op.strides.empty() ? ones : op.strides,
                                     op.dilations.empty() ? ones : op.dilations, op.pads.empty() ? zeros : op.pads));
  std::string coordinates, loops, tap = "0", position = "0";
  int64_t below = 1;
  for (size_t d = rank; d-- > 0; below *= y[2 + d])
    coordinates += fmt::format("  const int o{} = i / {} % {} + {};\n", d, below, y[2 + d], shape[d].pad_begin);
  for (size_t d = 0; d < rank; ++d) {
    HONE_TRY(const Dim count, window_positions(Dim(y[2 + d]), shape[d]));
    loops += fmt::format(
        "  for (int k{0} = 0; k{0} < {1}; ++k{0}) {{\n    const int t{0} = o{0} - k{0} * {2}, p{0} = t{0} / {3};\n"
        "    if (t{0} < 0 || t{0} % {3} != 0 || p{0} >= {4}) continue;\n",
        d, shape[d].kernel, shape[d].dilation, shape[d].stride, count.value);
    tap = fmt::format("({} * {} + k{})", tap, shape[d].kernel, d);
    position = fmt::format("({} * {} + p{})", position, count.value, d);
  }
  return cuda::Source{
      .text = fmt::format(R"cuda(
typedef {0} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {1}) return;
  const T* from = x + i / {2} * {3};
{4}  float sum = 0;
{5}    sum += (float)from[(i64){6} * {7} + {8}];
  {9}
  y[i] = (T)sum;
}}
)cuda",
                          cuda::element_type(problem.inputs[0].dtype), element_count(y), below,
                          element_count(block) * x[2], coordinates, loops, tap, x[2], position, std::string(rank, '}')),
      .drops = cuda::drops_from(problem, 1)};
}

}  // namespace

std::span<const Tactic> cuda_unpool_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<unpool_supports, unpool_source, unpool_launch>("cuda.max_unpool"),
                                     cuda::row<columns_supports, columns_source, cuda::launch_output>("cuda.col2im")};
  return kRows;
}

}  // namespace hone
