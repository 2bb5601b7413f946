// Slice, Pad and Tile: a thread moves 16 bytes of the result, where the last dim is a multiple of them.
#include "ops/movement.h"
#include "tactics/cuda/movable.h"
#include "tactics/windows.h"

namespace hone {
namespace {

using cuda::output_run;

constexpr const char* kAlignedLoad = "  const auto run = load_run<RUN>(from);\n";

std::string load_each(const std::string& index) {
  return fmt::format("  Run<T, RUN> run;\n#pragma unroll\n  for (int j = 0; j < RUN; ++j) run.v[j] = from[{}];\n",
                     index);
}

// `from` says where x has the element i of y, the first of a run; `load` defines `run` from there.
cuda::Source run_source(const Problem& problem, const std::string& from, const std::string& load) {
  return {.text = fmt::format(R"cuda(
#define RUN {0}
typedef {1} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x) {{
  begin();
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (i >= {2}) return;
  const T* from = x + ({3});
{4}  *(Run<T, RUN>*)(y + i) = run;
}}
)cuda",
                              output_run(problem), cuda::moved_type(problem),
                              element_count(dims_of(problem.outputs[0])), from, load),
          .drops = cuda::drops_from(problem, 1)};
}

std::string slice_supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<Slice>(problem); !reason.empty()) return reason;
  return cuda::refuse_unless_constant(problem, 1);
}

Result<cuda::Source> slice_source(const Problem& problem) {
  HONE_TRY(const auto window, slice_window(problem));
  const Dims x = dims_of(problem.inputs[0]);
  const size_t rank = x.size();
  Dims strides = strides_of(x);
  int64_t offset = 0;
  for (size_t d = 0; d < rank; ++d) {
    offset += window[d] * strides[d];
    strides[d] *= window[rank + d];
  }
  const int run = output_run(problem);
  const int64_t step = rank == 0 ? 1 : window[2 * rank - 1];
  const bool aligned = rank > 0 && step == 1 && x[rank - 1] % run == 0 && window[rank - 1] % run == 0;
  return run_source(problem, cuda::strided_index(dims_of(problem.outputs[0]), strides, offset, "i"),
                    aligned ? kAlignedLoad : load_each(fmt::format("j * ({}LL)", step)));
}

std::string tile_supports(const Problem& problem) { return cuda::refuse_unless_movable<Tile>(problem); }

Result<cuda::Source> tile_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]), strides = strides_of(x);
  const auto index_of = [&](const char* i) {
    std::string index = "0";
    int64_t below = 1;
    for (size_t d = y.size(); d-- > 0; below *= y[d])
      if (x[d] > 1) index += fmt::format(" + {} / {} % {} * {}", i, below, x[d], strides[d]);
    return index;
  };
  const bool aligned = !x.empty() && x.back() % output_run(problem) == 0;
  return run_source(problem, aligned ? index_of("i") : "0", aligned ? kAlignedLoad : load_each(index_of("(i + j)")));
}

// Where a padded position lies in the `n` elements that are there, or -1.
constexpr const char* kPlaces[][2] = {{"constant", "p >= 0 && p < n ? p : -1"},
                                      {"edge", "p < 0 ? 0 : p < n ? p : n - 1"},
                                      {"wrap", "(p % n + n) % n"},
                                      {"reflect", "n == 1 ? 0 : n - 1 - abs_difference(modulus(p, 2 * n - 2), n - 1)"}};

std::string pad_supports(const Problem& problem) {
  if (std::string reason = cuda::refuse_unless_movable<Pad>(problem); !reason.empty()) return reason;
  if (problem.inputs[0].shape.rank() == 0) return "a scalar";
  if (has(problem, 2) &&
      (problem.inputs[2].dtype != problem.inputs[0].dtype || element_count(dims_of(problem.inputs[2])) != 1))
    return "the value is not one element of the input's type";
  if (std::string reason = cuda::refuse_unless_constant(problem, 1, 2); !reason.empty()) return reason;
  if (problem.constants.empty()) return {};
  const auto pads = all_pads(problem);
  const Dims x = dims_of(problem.inputs[0]);
  if (pads.size() != 2 * x.size()) return "pads that do not fit the input";
  for (size_t d = 0; d < x.size() && problem.op.as<Pad>()->mode != "constant"; ++d)
    if (x[d] + std::min<int64_t>(pads[d], 0) + std::min<int64_t>(pads[d + x.size()], 0) <= 0)
      return "a dim of which nothing is left to pad with";
  return {};
}

// `at`, a coordinate of the output, becomes one of the input. Negative pads crop first.
std::string place(int64_t extent, int64_t before, int64_t after) {
  const int64_t crop = std::max<int64_t>(-before, 0), kept = extent - crop - std::max<int64_t>(-after, 0);
  return fmt::format("place(at - {}, {}, {})", std::max<int64_t>(before, 0), kept, crop);
}

Result<cuda::Source> pad_source(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]), strides = strides_of(x);
  const auto pads = all_pads(problem);
  const size_t rank = x.size();
  const bool given = has(problem, 2), whole_rows = pads[rank - 1] == 0 && pads[2 * rank - 1] == 0;
  std::string outer;
  int64_t below = y.back();
  for (size_t d = rank - 1; d-- > 0; below *= y[d])
    outer += pads[d] == 0 && pads[d + rank] == 0
                 ? fmt::format("  from += i / {} % {} * {};\n", below, y[d], strides[d])
                 : fmt::format(
                       "  {{\n    const i64 at = i / {} % {}, source = {};\n    inside &= source >= 0;\n    from "
                       "+= source * {};\n  }}\n",
                       below, y[d], place(x[d], pads[d], pads[d + rank]), strides[d]);
  const auto* mode = std::find_if(std::begin(kPlaces), std::end(kPlaces),
                                  [&](const auto& row) { return row[0] == problem.op.as<Pad>()->mode; });
  if (mode == std::end(kPlaces)) return invalid("pad mode '{}' is unknown", problem.op.as<Pad>()->mode);
  cuda::Source source{fmt::format(R"cuda(
#define RUN {0}
typedef {1} T;
__device__ inline i64 modulus(i64 a, i64 n) {{ return (a % n + n) % n; }}
__device__ inline i64 abs_difference(i64 a, i64 b) {{ return a < b ? b - a : a - b; }}
__device__ inline i64 place(i64 p, i64 n, i64 crop) {{
  const i64 at = {2};
  return at < 0 ? at : at + crop;
}}
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x{3}) {{
  begin();
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (i >= {4}) return;
  const T fill = {5};
  bool inside = true;
  i64 from = 0;
{6}  Run<T, RUN> run;
#pragma unroll
  for (int j = 0; j < RUN; ++j) run.v[j] = fill;
  if (inside) {{
{7}  }}
  *(Run<T, RUN>*)(y + i) = run;
}}
)cuda",
                                  output_run(problem), cuda::moved_type(problem), (*mode)[1],
                                  given ? ", const T* value" : "", element_count(y), given ? "*value" : "0", outer,
                                  whole_rows
                                      ? fmt::format("    run = load_run<RUN>(x + from + i % {});\n", y.back())
                                      : fmt::format(R"cuda(#pragma unroll
    for (int j = 0; j < RUN; ++j) {{
      const i64 at = i % {} + j, source = {};
      if (source >= 0) run.v[j] = x[from + source];
    }}
)cuda",
                                                    y.back(), place(x.back(), pads[rank - 1], pads[2 * rank - 1])))};
  source.drops = cuda::drops_from(problem, 1);
  if (given) source.drops[2] = false;
  return source;
}

}  // namespace

std::span<const Tactic> cuda_window_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<slice_supports, slice_source, cuda::launch_runs>("cuda.slice"),
                                     cuda::row<pad_supports, pad_source, cuda::launch_runs>("cuda.pad"),
                                     cuda::row<tile_supports, tile_source, cuda::launch_runs>("cuda.tile")};
  return kRows;
}

}  // namespace hone
