#include "ops/pool.h"

#include "ops/elements.h"
#include "tactics/cuda/kernel.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

std::string supports(const Problem& problem) {
  const auto* op = problem.op.as<Pool>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const DType type = problem.inputs[0].dtype;
  const bool bytes = op->kind == "max" && (type == DType::i8 || type == DType::u8 || type == DType::f8e4m3fn);
  if (!bytes && !cuda::is_real_element(type)) return fmt::format("{} elements", name(type));
  if (problem.outputs.size() > 1 && op->channels_last) return "indices of maxima, and activations are channels-last";
  return element_count(dims_of(problem.outputs[0])) == 0 ? "empty" : "";
}

struct Reduction {
  std::string start, step, result;
};

// `count`: the elements that an average divides by; `where`: the index of a maximum, that of the element being `place`.
Reduction reduction(const Pool& op, DType type, bool indices) {
  const char* least = type == DType::i8 ? "-128" : type == DType::u8 ? "0" : "-INF";
  if (indices)
    return {least, "if (where < 0 || v > acc || (isnan((float)v) && !isnan((float)acc))) acc = v, where = place;",
            "acc"};
  if (!cuda::is_held_in_float(type)) return {least, "acc = v > acc ? v : acc;", "acc"};
  if (op.kind == "max") return {least, "acc = v > acc || isnan(v) ? v : acc;", "acc"};
  if (op.kind == "average") return {"0", "acc += v;", "acc / count"};
  if (op.p == 1) return {"0", "acc += fabsf(v);", "acc"};
  if (op.p == 2) return {"0", "acc += v * v;", "sqrtf(acc)"};
  return {"0", fmt::format("acc += powf(fabsf(v), {});", op.p), fmt::format("powf(acc, 1.0f / {})", op.p)};
}

// Channels that a thread takes at once.
int run_of(const Problem& problem) {
  return problem.op.as<Pool>()->channels_last ? cuda::run_of(problem.inputs[0].dtype, dims_of(problem.inputs[0]).back())
                                              : 1;
}

// A loop a spatial dim. Padding is never read; it counts in a divisor when the op says so, up to the end of the padded
// image.
// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> source(const Problem& problem) {
  const Pool& op = *problem.op.as<Pool>();
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  const size_t spatial = op.kernel.size(), first = op.channels_last ? 1 : 2;
  const bool indices = problem.outputs.size() > 1;
  std::string coordinates, loops, offset = "base", place = "base", count = "1";
  int64_t out_run = op.channels_last ? y.back() : 1, in_run = op.channels_last ? x.back() : 1;
  for (size_t d = spatial; d-- > 0;) {
    const int64_t size = x[first + d], pad = op.pads[d], padded = size + op.pads[spatial + d];
    coordinates +=
        fmt::format("  const int o{0} = i / {1} % {2} * {3} - {4};\n", d, out_run, y[first + d], op.strides[d], pad);
    loops.insert(
        0,
        fmt::format("  for (int k{0} = 0, p{0} = o{0}; k{0} < {1}; ++k{0}, p{0} += {2}) if (p{0} >= 0 && p{0} < {3})\n",
                    d, op.kernel[d], op.dilations[d], size));
    offset += fmt::format(" + (i64)p{} * {}", d, in_run);
    if (indices)
      place +=
          fmt::format(" + (i64)p{} * {}", d, op.column_major ? span_count(x, 2, static_cast<int64_t>(2 + d)) : in_run);
    // How many steps of the window lie inside the image, or inside the padded one.
    const std::string low =
        op.count_include_pad ? "0" : fmt::format("(o{0} < 0 ? (-o{0} + {1} - 1) / {1} : 0)", d, op.dilations[d]);
    count += fmt::format(" * (float)(min({0}, ({1} - o{2} + {3} - 1) / {3}) - {4})", op.kernel[d],
                         op.count_include_pad ? padded : size, d, op.dilations[d], low);
    out_run *= y[first + d];
    in_run *= size;
  }
  // Channels-first: the batch and the channel lie above the image; channels-last: the channel below, the batch above.
  const std::string base = op.channels_last ? fmt::format("i / {} * {} + i % {}", out_run, in_run, x.back())
                                            : fmt::format("i / {} * {}", out_run, in_run);
  const Reduction r = reduction(op, problem.inputs[0].dtype, indices);
  return cuda::Source{fmt::format(R"cuda(
#define RUN {}
typedef {} T;
typedef {} Acc;
extern "C" __global__ void kernel(T* __restrict__ y{}, const T* __restrict__ x) {{
  begin();
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (i >= {}) return;
  const i64 base = {};
{}  i64 where = -1;
  Acc sums[RUN];
#pragma unroll
  for (int j = 0; j < RUN; ++j) sums[j] = {};
{}  {{
    const auto run = load_run<RUN>(x + {});
    const i64 place = {};
#pragma unroll
    for (int j = 0; j < RUN; ++j) {{
      const Acc v = run.v[j];
      Acc& acc = sums[j];
      {}
    }}
  }}
  const float count = {};
#pragma unroll
  for (int j = 0; j < RUN; ++j) {{
    const Acc acc = sums[j];
    sums[j] = {};
  }}
  store_run(y + i, sums);
  {}
}}
)cuda",
                                  run_of(problem), cuda::element_type(problem.inputs[0].dtype),
                                  cuda::is_held_in_float(problem.inputs[0].dtype) ? "float" : "int",
                                  indices ? ", i64* __restrict__ indices" : "", element_count(y), base, coordinates,
                                  r.start, loops, offset, place, r.step, count, r.result,
                                  indices ? "indices[i] = where;" : "")};
}

cuda::Launch launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.outputs[0])) / run_of(problem));
}

}  // namespace

std::span<const Tactic> cuda_pool_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.pool")};
  return kRows;
}

}  // namespace hone
