// Ops that move elements of any fixed size.
#include "ops/movement.h"

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/gather.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

using cuda::moved_type, cuda::refuse_unless_movable;

constexpr size_t kMostParts = 64;

// What a thread moves: 16 bytes where every run of elements that stays together is a multiple of them, else an element.
struct Unit {
  const char* type;
  int64_t elements;
};

Unit unit_of(const Problem& problem, const std::vector<int64_t>& runs) {
  const auto wide = static_cast<int64_t>(16 / size_of(problem.inputs[0].dtype));
  const bool fits = std::all_of(runs.begin(), runs.end(), [&](int64_t run) { return run % wide == 0; });
  return fits ? Unit{"uint4", wide} : Unit{moved_type(problem), 1};
}

cuda::Launch launch_units(const TensorType& type, const Unit& unit) {
  return cuda::elementwise(element_count(dims_of(type)) / unit.elements);
}

// The dims in units, of which the last dim is a multiple.
Dims in_units(Dims dims, const Unit& unit) {
  if (unit.elements > 1) dims.back() /= unit.elements;
  return dims;
}

// y[i] = x[index of i]
cuda::Source map_source(const Problem& problem, const Unit& unit, const std::string& index) {
  return {.text = fmt::format(R"cuda(
extern "C" __global__ void kernel({0}* __restrict__ y, const {0}* __restrict__ x) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < {1}) y[i] = x[{2}];
}}
)cuda",
                              unit.type, element_count(dims_of(problem.outputs[0])) / unit.elements, index),
          .drops = cuda::drops_from(problem, 1)};
}

std::string transpose_supports(const Problem& problem) { return refuse_unless_movable<Transpose>(problem); }

Unit transpose_unit(const Problem& problem) {
  const auto& perm = problem.op.as<Transpose>()->perm;
  const bool rows_stay = !perm.empty() && perm.back() == static_cast<int64_t>(perm.size()) - 1;
  return unit_of(problem, {rows_stay ? dims_of(problem.inputs[0]).back() : 1});
}

Result<cuda::Source> transpose_source(const Problem& problem) {
  const Unit unit = transpose_unit(problem);
  const Dims strides = strides_of(in_units(dims_of(problem.inputs[0]), unit));
  Dims moved;
  for (int64_t p : problem.op.as<Transpose>()->perm) moved.push_back(strides[static_cast<size_t>(p)]);
  return map_source(problem, unit, cuda::strided_index(in_units(dims_of(problem.outputs[0]), unit), moved, 0, "i"));
}

cuda::Launch transpose_launch(const Problem& problem) {
  return launch_units(problem.outputs[0], transpose_unit(problem));
}

std::string expand_supports(const Problem& problem) { return refuse_unless_movable<Expand>(problem); }

Unit expand_unit(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  return unit_of(problem, {!x.empty() && x.back() == y.back() ? x.back() : 1});
}

Result<cuda::Source> expand_source(const Problem& problem) {
  const Unit unit = expand_unit(problem);
  return map_source(problem, unit,
                    cuda::broadcast_index(in_units(dims_of(problem.inputs[0]), unit),
                                          in_units(dims_of(problem.outputs[0]), unit), "i"));
}

cuda::Launch expand_launch(const Problem& problem) { return launch_units(problem.outputs[0], expand_unit(problem)); }

// How many elements of each tensor stay together when they lie along `axis`.
std::vector<int64_t> runs_of(const Types& types, int64_t axis) {
  std::vector<int64_t> runs;
  for (const TensorType& t : types) {
    const Dims dims = dims_of(t);
    const auto rank = static_cast<int64_t>(dims.size());
    runs.push_back(span_count(dims, axis < 0 ? axis + rank : axis, rank));
  }
  return runs;
}

std::string concat_supports(const Problem& problem) {
  if (std::string reason = refuse_unless_movable<Concat>(problem); !reason.empty()) return reason;
  return problem.inputs.size() > kMostParts
             ? fmt::format("{}, at most {}", counted(problem.inputs.size(), "input"), kMostParts)
             : "";
}

Unit concat_unit(const Problem& problem) {
  return unit_of(problem, runs_of(problem.inputs, problem.op.as<Concat>()->axis));
}

// The run of elements that each part gives for one index of the dims before the axis.
Result<cuda::Source> concat_source(const Problem& problem) {
  const Unit unit = concat_unit(problem);
  const auto runs = runs_of(problem.inputs, problem.op.as<Concat>()->axis);
  std::string parameters = fmt::format("{}* __restrict__ y", unit.type), choices;
  int64_t begin = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const int64_t run = runs[i] / unit.elements;
    parameters += fmt::format(", const {}* x{}", unit.type, i);
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
                                  parameters, element_count(dims_of(problem.outputs[0])) / unit.elements, begin, begin,
                                  choices)};
}

cuda::Launch concat_launch(const Problem& problem) { return launch_units(problem.outputs[0], concat_unit(problem)); }

std::string split_supports(const Problem& problem) {
  if (std::string reason = refuse_unless_movable<Split>(problem); !reason.empty()) return reason;
  return problem.outputs.size() > kMostParts
             ? fmt::format("{}, at most {}", counted(problem.outputs.size(), "output"), kMostParts)
             : "";
}

Unit split_unit(const Problem& problem) {
  return unit_of(problem, runs_of(problem.outputs, problem.op.as<Split>()->axis));
}

Result<cuda::Source> split_source(const Problem& problem) {
  const Unit unit = split_unit(problem);
  const auto runs = runs_of(problem.outputs, problem.op.as<Split>()->axis);
  std::string parameters, choices;
  int64_t begin = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const int64_t run = runs[i] / unit.elements;
    parameters += fmt::format("{}* y{}, ", unit.type, i);
    choices +=
        fmt::format("  if (at < {}) {{ y{}[outer * {} + at - {}] = x[i]; return; }}\n", begin + run, i, run, begin);
    begin += run;
  }
  return cuda::Source{
      .text = fmt::format(R"cuda(
extern "C" __global__ void kernel({}const {}* __restrict__ x) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {}) return;
  const i64 outer = i / {}, at = i % {};
{}}}
)cuda",
                          parameters, unit.type, element_count(dims_of(problem.inputs[0])) / unit.elements, begin,
                          begin, choices),
      .drops = cuda::drops_from(problem, 1)};
}

cuda::Launch split_launch(const Problem& problem) { return launch_units(problem.inputs[0], split_unit(problem)); }

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

Unit gather_unit(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  const int64_t axis = problem.op.as<Gather>()->axis;
  return unit_of(problem, {span_count(x, (axis < 0 ? axis + rank : axis) + 1, rank)});
}

cuda::Launch gather_launch(const Problem& problem) { return launch_units(problem.outputs[0], gather_unit(problem)); }

Result<cuda::Source> gather_any_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Gather>()->axis, rank));
  const Unit unit = gather_unit(problem);
  const int64_t extent = x[static_cast<size_t>(axis)], inner = span_count(x, axis + 1, rank) / unit.elements,
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
                                  unit.type, element_count(dims_of(problem.outputs[0])) / unit.elements, inner * count,
                                  extent, inner, count, cuda::element_type(problem.inputs[1].dtype))};
}

cuda::Launch gather_any_launch(const Problem& problem) {
  cuda::Launch launch = gather_launch(problem);
  launch.fault = "an index is outside of the data";
  return launch;
}

Result<cuda::Source> gather_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  HONE_TRY(const int64_t axis, normalize_axis(problem.op.as<Gather>()->axis, rank));
  const Unit unit = gather_unit(problem);
  const int64_t extent = x[static_cast<size_t>(axis)], inner = span_count(x, axis + 1, rank) / unit.elements;
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
                                          unit.type, element_count(dims_of(problem.outputs[0])) / unit.elements,
                                          inner * places.count(), extent, inner, places.count()),
                      .drops = {false, true},
                      .packed = {places}};
}

}  // namespace

std::span<const Tactic> cuda_movement_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<transpose_supports, transpose_source, transpose_launch>("cuda.transpose"),
      cuda::row<expand_supports, expand_source, expand_launch>("cuda.expand"),
      cuda::row<concat_supports, concat_source, concat_launch>("cuda.concat"),
      cuda::row<split_supports, split_source, split_launch>("cuda.split"),
      cuda::row<gather_supports, gather_source, gather_launch>("cuda.gather"),
      cuda::row<gather_any_supports, gather_any_source, gather_any_launch>("cuda.gather_indices", 1)};
  return kRows;
}

}  // namespace hone
