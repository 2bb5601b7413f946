// Ops that move elements of any fixed size: a thread for each element of the result.
#include "ops/movement.h"

#include "ops/elements.h"
#include "ops/gather.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

using cuda::launch_output, cuda::moved_type, cuda::refuse_unless_movable;

constexpr size_t kMostParts = 64;

// y[i] = x[index of i]; `drops` counts the inputs behind x.
cuda::Source map_source(const Problem& problem, const std::string& index) {
  cuda::Source source{.text = fmt::format(R"cuda(
extern "C" __global__ void kernel({0}* __restrict__ y, const {0}* __restrict__ x) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < {1}) y[i] = x[{2}];
}}
)cuda",
                                          moved_type(problem), element_count(dims_of(problem.outputs[0])), index)};
  for (size_t i = 0; i < problem.inputs.size(); ++i) source.drops.push_back(i > 0);
  return source;
}

std::string transpose_supports(const Problem& problem) { return refuse_unless_movable<Transpose>(problem); }

Result<cuda::Source> transpose_source(const Problem& problem) {
  const Dims strides = strides_of(dims_of(problem.inputs[0]));
  Dims moved;
  for (int64_t p : problem.op.as<Transpose>()->perm) moved.push_back(strides[static_cast<size_t>(p)]);
  return map_source(problem, cuda::strided_index(dims_of(problem.outputs[0]), moved, 0, "i"));
}

std::string expand_supports(const Problem& problem) { return refuse_unless_movable<Expand>(problem); }

Result<cuda::Source> expand_source(const Problem& problem) {
  return map_source(problem, cuda::broadcast_index(dims_of(problem.inputs[0]), dims_of(problem.outputs[0]), "i"));
}

std::string concat_supports(const Problem& problem) {
  if (std::string reason = refuse_unless_movable<Concat>(problem); !reason.empty()) return reason;
  return problem.inputs.size() > kMostParts ? fmt::format("{} inputs, at most {}", problem.inputs.size(), kMostParts)
                                            : "";
}

// The run of elements that each part gives for one index of the dims before the axis.
Result<cuda::Source> concat_source(const Problem& problem) {
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Concat>()->axis, problem.outputs[0].shape.rank()));
  const Dims y = dims_of(problem.outputs[0]);
  const auto rank = static_cast<int64_t>(y.size());
  const char* type = moved_type(problem);
  std::string parameters = fmt::format("{}* __restrict__ y", type), choices;
  int64_t begin = 0;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    const int64_t run = span_count(dims_of(problem.inputs[i]), axis, rank);
    parameters += fmt::format(", const {}* x{}", type, i);
    if (run > 0)
      choices +=
          fmt::format("  if (at < {}) {{ y[i] = x{}[outer * {} + at - {}]; return; }}\n", begin + run, i, run, begin);
    begin += run;
  }
  return cuda::Source{fmt::format(R"cuda(
extern "C" __global__ void kernel({}) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {}) return;
  const i64 outer = i / {}, at = i % {};
{}}}
)cuda",
                                  parameters, element_count(y), begin, begin, choices)};
}

std::string split_supports(const Problem& problem) {
  if (std::string reason = refuse_unless_movable<Split>(problem); !reason.empty()) return reason;
  return problem.outputs.size() > kMostParts ? fmt::format("{} outputs, at most {}", problem.outputs.size(), kMostParts)
                                             : "";
}

Result<cuda::Source> split_source(const Problem& problem) {
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Split>()->axis, problem.inputs[0].shape.rank()));
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  const char* type = moved_type(problem);
  std::string parameters, choices;
  int64_t begin = 0;
  for (size_t i = 0; i < problem.outputs.size(); ++i) {
    const int64_t run = span_count(dims_of(problem.outputs[i]), axis, rank);
    parameters += fmt::format("{}* y{}, ", type, i);
    choices +=
        fmt::format("  if (at < {}) {{ y{}[outer * {} + at - {}] = x[i]; return; }}\n", begin + run, i, run, begin);
    begin += run;
  }
  return cuda::Source{.text = fmt::format(R"cuda(
extern "C" __global__ void kernel({}const {}* __restrict__ x) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {}) return;
  const i64 outer = i / {}, at = i % {};
{}}}
)cuda",
                                          parameters, type, element_count(x), begin, begin, choices),
                      .drops = {false, true}};
}

cuda::Launch split_launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.inputs[0])));
}

std::string gather_supports(const Problem& problem) {
  if (std::string reason = refuse_unless_movable<Gather>(problem); !reason.empty()) return reason;
  if (!problem.constants.empty() && !problem.is_constant(1)) return "indices are known only at run time";
  return {};
}

// Indices that are known when the engine runs.
std::string gather_any_supports(const Problem& problem) {
  if (std::string reason = refuse_unless_movable<Gather>(problem); !reason.empty()) return reason;
  return cuda::element_type(problem.inputs[1].dtype) == nullptr ? "indices of no type that kernels read" : "";
}

Result<cuda::Source> gather_any_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Gather>()->axis, rank));
  const int64_t extent = x[static_cast<size_t>(axis)], inner = span_count(x, axis + 1, rank),
                count = element_count(dims_of(problem.inputs[1]));
  return cuda::Source{fmt::format(R"cuda(
extern "C" __global__ void kernel({0}* __restrict__ y, const {0}* __restrict__ x, const {6}* __restrict__ indices,
                                  int* fault) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {1}) return;
  const i64 index = indices[i / {4} % {5}], place = index < 0 ? index + {3} : index;
  const bool inside = place >= 0 && place < {3};
  if (!inside) *fault = 1;
  y[i] = x[(i / {2} * {3} + (inside ? place : 0)) * {4} + i % {4}];
}}
)cuda",
                                  moved_type(problem), element_count(dims_of(problem.outputs[0])), inner * count,
                                  extent, inner, count, cuda::element_type(problem.inputs[1].dtype))};
}

cuda::Launch gather_any_launch(const Problem& problem) {
  cuda::Launch launch = launch_output(problem);
  launch.fault = "an index is outside of the data";
  return launch;
}

Result<cuda::Source> gather_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Gather>()->axis, rank));
  const int64_t extent = x[static_cast<size_t>(axis)], inner = span_count(x, axis + 1, rank);
  const auto indices = problem.constants[1].to_ints();
  Tensor places(DType::i64, {static_cast<int64_t>(indices.size())});
  for (size_t i = 0; i < indices.size(); ++i) {
    const int64_t place = indices[i] < 0 ? indices[i] + extent : indices[i];
    if (place < 0 || place >= extent) return invalid("index {} is outside of [{}, {})", indices[i], -extent, extent);
    places.set_int(static_cast<int64_t>(i), place);
  }
  return cuda::Source{.text = fmt::format(R"cuda(
extern "C" __global__ void kernel({0}* __restrict__ y, const {0}* __restrict__ x, const i64* __restrict__ places) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < {1}) y[i] = x[(i / {2} * {3} + places[i / {4} % {5}]) * {4} + i % {4}];
}}
)cuda",
                                          moved_type(problem), element_count(dims_of(problem.outputs[0])),
                                          inner * places.count(), extent, inner, places.count()),
                      .drops = {false, true},
                      .packed = {places}};
}

}  // namespace

std::span<const Tactic> cuda_movement_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<transpose_supports, transpose_source, launch_output>("cuda.transpose"),
      cuda::row<expand_supports, expand_source, launch_output>("cuda.expand"),
      cuda::row<concat_supports, concat_source, launch_output>("cuda.concat"),
      cuda::row<split_supports, split_source, split_launch>("cuda.split"),
      cuda::row<gather_supports, gather_source, launch_output>("cuda.gather"),
      cuda::row<gather_any_supports, gather_any_source, gather_any_launch>("cuda.gather_indices", 1)};
  return kRows;
}

}  // namespace hone
