// Ops that read or write where indices say. An index outside of the data sets the fault.
#include "ops/elements.h"
#include "ops/gather.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

constexpr std::string_view kFault = "an index is outside of the data";
constexpr int64_t kMostMatches = int64_t{1} << 34;

// Defines `i64 checked(i64 index, i64 extent, int* fault)`.
constexpr const char* kChecked = R"cuda(
__device__ inline i64 checked(i64 index, i64 extent, int* fault) {
  const i64 place = index < 0 ? index + extent : index;
  if (place >= 0 && place < extent) return place;
  *fault = 1;
  return -1;
}
)cuda";

std::string refuse_indices(const Problem& problem) {
  if (cuda::element_type(problem.inputs[1].dtype) == nullptr) return "indices of no type that kernels read";
  for (const TensorType* t : {&problem.inputs[0], &problem.inputs[1], &problem.outputs[0]})
    if (const int64_t count = element_count(dims_of(*t)); count == 0 || count > INT32_MAX)
      return count == 0 ? "empty" : "2^31 elements or more";
  return {};
}

// Along an axis, the indices have dims of their own; elsewhere none larger than the data's.
std::string refuse_elements(const Problem& problem, int64_t axis) {
  const Dims x = dims_of(problem.inputs[0]), indices = dims_of(problem.inputs[1]);
  const auto at = normalize_axis(axis, static_cast<int64_t>(x.size()));
  if (!at.ok() || x.size() != indices.size()) return "indices of another rank";
  for (size_t d = 0; d < x.size(); ++d)
    if (static_cast<int64_t>(d) != *at && indices[d] > x[d]) return "indices that do not fit the data";
  return {};
}

// Statements that define `place`, the index into the data's axis that is given at `k`, and an expression for the
// element of the data that is meant.
struct ElementPlace {
  std::string statement, element;

  ElementPlace(const Problem& problem, int64_t axis) {
    const Dims x = dims_of(problem.inputs[0]);
    Dims strides = strides_of(x);
    const auto at = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(x.size()) : axis);
    const int64_t stride = strides[at];
    strides[at] = 0;
    statement = fmt::format("i64 place = checked(indices[k], {}, fault);", x[at]);
    element = fmt::format("{} + place * {}", cuda::strided_index(dims_of(problem.inputs[1]), strides, 0, "k"), stride);
  }
};

// For rows of indices: statements that define `place`, the slice of the data that row `k` means, or -1.
std::string row_place(const Problem& problem, int64_t batch_dims) {
  const Dims x = dims_of(problem.inputs[0]), indices = dims_of(problem.inputs[1]);
  const auto rank = static_cast<int64_t>(indices.size());
  std::string text = fmt::format("i64 place = k / {};\n", span_count(indices, batch_dims, rank - 1));
  if (batch_dims == 0) text = "i64 place = 0;\n";
  for (int64_t j = 0; j < indices.back(); ++j) {
    const int64_t extent = x[static_cast<size_t>(batch_dims + j)];
    text += fmt::format(
        "  {{\n    const i64 index = checked(indices[k * {0} + {1}], {2}, fault);\n"
        "    place = place < 0 || index < 0 ? -1 : place * {2} + index;\n  }}\n",
        indices.back(), j, extent);
  }
  return text;
}

cuda::Launch launch_output(const Problem& problem) {
  cuda::Launch launch = cuda::launch_output(problem);
  launch.fault = kFault;
  return launch;
}

std::string gather_source_text(const Problem& problem, int64_t run, const std::string& place,
                               const std::string& element) {
  return fmt::format(R"cuda({0}
#define RUN {1}
typedef {2} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x, const {3}* __restrict__ indices,
                                  int* fault) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {4}) return;
  const i64 k = i / RUN;
  {5}
  if (place >= 0) y[i] = x[{6}];
}}
)cuda",
                     kChecked, run, cuda::moved_type(problem), cuda::element_type(problem.inputs[1].dtype),
                     element_count(dims_of(problem.outputs[0])), place, element);
}

std::string gather_elements_supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<GatherElements>(problem); !reason.empty()) return reason;
  if (std::string reason = refuse_indices(problem); !reason.empty()) return reason;
  return refuse_elements(problem, problem.op.as<GatherElements>()->axis);
}

Result<cuda::Source> gather_elements_source(const Problem& problem) {
  const ElementPlace at(problem, problem.op.as<GatherElements>()->axis);
  return cuda::Source{gather_source_text(problem, 1, at.statement, at.element)};
}

std::string gather_nd_supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<GatherND>(problem); !reason.empty()) return reason;
  const Dims x = dims_of(problem.inputs[0]), indices = dims_of(problem.inputs[1]);
  for (int64_t d = 0; d < problem.op.as<GatherND>()->batch_dims; ++d)
    if (x[static_cast<size_t>(d)] != indices[static_cast<size_t>(d)]) return "batch dims that differ";
  return refuse_indices(problem);
}

Result<cuda::Source> gather_nd_source(const Problem& problem) {
  const int64_t batch = problem.op.as<GatherND>()->batch_dims;
  const Dims x = dims_of(problem.inputs[0]);
  const int64_t run = span_count(x, batch + dims_of(problem.inputs[1]).back(), static_cast<int64_t>(x.size()));
  return cuda::Source{gather_source_text(problem, run, row_place(problem, batch), "place * RUN + i % RUN")};
}

// What the two scatters share: each of `updates` rows of `run` elements goes to one of `slices` of the data.
struct Scatter {
  std::string_view reduction;
  int64_t run, slices, updates;
  std::string place;  // statements that define `place`, the slice of update k
};

Scatter scatter_of(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), indices = dims_of(problem.inputs[1]);
  if (const auto* op = problem.op.as<ScatterElements>()) {
    const ElementPlace at(problem, op->axis);
    return {op->reduction, 1, element_count(x), element_count(indices),
            fmt::format("{}\n  if (place >= 0) place = {};", at.statement, at.element)};
  }
  const int64_t run = span_count(x, indices.back(), static_cast<int64_t>(x.size()));
  return {problem.op.as<ScatterND>()->reduction, run, element_count(x) / run, element_count(indices) / indices.back(),
          row_place(problem, 0)};
}

template <class T>
std::string refuse_scatter(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<T>(problem); !reason.empty()) return reason;
  return refuse_indices(problem);
}

std::string refuse_updates(const Problem& problem) {
  const Scatter s = scatter_of(problem);
  if (element_count(dims_of(problem.inputs[2])) != s.updates * s.run) return "updates that do not fit the indices";
  if (s.reduction == "none") return {};
  if (cuda::element_type(problem.inputs[0].dtype) == nullptr)
    return fmt::format("{} elements", name(problem.inputs[0].dtype));
  return s.slices * s.run > kMostMatches / s.updates ? "too many updates to search for every element" : "";
}

std::string scatter_supports(const Problem& problem) {
  const auto* elements = problem.op.as<ScatterElements>();
  std::string reason =
      elements != nullptr ? refuse_scatter<ScatterElements>(problem) : refuse_scatter<ScatterND>(problem);
  if (reason.empty() && elements != nullptr) reason = refuse_elements(problem, elements->axis);
  return reason.empty() ? refuse_updates(problem) : reason;
}

// Without a reduction the last update counts: a block finds it for every slice. With one, all are applied in order:
// every element looks for its own.
// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> scatter_source(const Problem& problem) {
  const Scatter s = scatter_of(problem);
  const bool reduces = s.reduction != "none", is_real = cuda::is_real_element(problem.inputs[0].dtype);
  const std::string parameters = fmt::format(
      "T* __restrict__ y, const T* __restrict__ x, const {}* __restrict__ indices, const T* __restrict__ "
      "updates, int* __restrict__ found, int* fault",
      cuda::element_type(problem.inputs[1].dtype));
  const char* combine = s.reduction == "add"   ? (is_real ? "a + b" : "(i64)((u64)a + (u64)b)")
                        : s.reduction == "mul" ? (is_real ? "a * b" : "(i64)((u64)a * (u64)b)")
                        : s.reduction == "max" ? "most(a, b)"
                                               : "least(a, b)";
  std::string text = fmt::format("{}\n#define RUN {}\n#define SLICES {}\n#define UPDATES {}\ntypedef {} T;\n", kChecked,
                                 s.run, s.slices, s.updates,
                                 reduces ? cuda::element_type(problem.inputs[0].dtype) : cuda::moved_type(problem));
  text += fmt::format(R"cuda(
__device__ inline i64 slice_of(i64 k, const {}* indices, int* fault) {{
  {}
  return place;
}}
)cuda",
                      cuda::element_type(problem.inputs[1].dtype), s.place);
  if (reduces)
    text += fmt::format(R"cuda(
extern "C" __global__ void before({0}) {{
  begin();
  const int k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k < UPDATES) found[k] = slice_of(k, indices, fault);
}}
extern "C" __global__ void kernel({0}) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (i64)SLICES * RUN) return;
  const int slice = i / RUN;
  T value = x[i];
  for (int k = 0; k < UPDATES; ++k) {{
    if (found[k] != slice) continue;
    const {1} a = value, b = updates[(i64)k * RUN + i % RUN];
    value = (T)({2});
  }}
  y[i] = value;
}}
)cuda",
                        parameters, is_real ? "float" : "i64", combine);
  else
    text += fmt::format(R"cuda(
extern "C" __global__ void before({0}) {{
  begin();
  for (int s = threadIdx.x; s < SLICES; s += blockDim.x) found[s] = -1;
  __syncthreads();
  for (int k = threadIdx.x; k < UPDATES; k += blockDim.x) {{
    const i64 slice = slice_of(k, indices, fault);
    if (slice >= 0) atomicMax(found + slice, k);
  }}
}}
extern "C" __global__ void kernel({0}) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (i64)SLICES * RUN) return;
  const int k = found[i / RUN];
  y[i] = k < 0 ? x[i] : updates[(i64)k * RUN + i % RUN];
}}
)cuda",
                        parameters);
  return cuda::Source{std::move(text)};
}

cuda::Launch scatter_launch(const Problem& problem) {
  const Scatter s = scatter_of(problem);
  cuda::Launch launch = launch_output(problem);
  if (s.reduction == "none") {
    launch.before = {.grid = {1}, .block = {1024}};
    launch.workspace_bytes = 4 * s.slices;
  } else {
    const cuda::Launch updates = cuda::elementwise(s.updates);
    launch.before = {.grid = updates.grid, .block = updates.block};
    launch.workspace_bytes = 4 * s.updates;
  }
  return launch;
}

}  // namespace

std::span<const Tactic> cuda_indexed_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<gather_elements_supports, gather_elements_source, launch_output>("cuda.gather_elements"),
      cuda::row<gather_nd_supports, gather_nd_source, launch_output>("cuda.gather_nd"),
      cuda::row<scatter_supports, scatter_source, scatter_launch>("cuda.scatter")};
  return kRows;
}

}  // namespace hone
