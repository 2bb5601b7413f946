// The transpose of a convolution, gathered: a thread sums what falls on RUN neighbouring channels of one result.
#include "ops/conv.h"

#include "ops/elements.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

std::string supports(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, ConvTranspose::kName);
  if (!anchor) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (!cuda::is_real_element(anchor->data.dtype)) return fmt::format("{} elements", name(anchor->data.dtype));
  if (problem.inputs[1].dtype != anchor->data.dtype) return "weights of another type";
  return cuda::refuse_gathered(problem, *anchor, anchor->op.as<ConvTranspose>()->channels_last);
}

struct Channels {
  int64_t in, out;  // of a group
  int64_t groups;
  int run;

  explicit Channels(const Problem& problem) {
    const ConvTranspose& conv = *cuda::view_anchor(problem, ConvTranspose::kName)->op.as<ConvTranspose>();
    const Dims w = dims_of(problem.inputs[1]);
    groups = conv.groups;
    in = w[0] / groups;
    out = w[1];
    run = conv.channels_last ? cuda::run_of(problem.outputs[0].dtype, out) : 1;
    if (problem.outputs[0].dtype != problem.inputs[0].dtype) run = 1;
  }
};

// A loop a spatial dim over the taps, which skips those that no input falls on.
// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> source(const Problem& problem) {
  const auto anchor = *cuda::view_anchor(problem, ConvTranspose::kName);
  const ConvTranspose& conv = *anchor.op.as<ConvTranspose>();
  const Dims x = dims_of(problem.inputs[0]), w = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const Channels channels(problem);
  const size_t spatial = conv.strides.size(), first = conv.channels_last ? 1 : 2;
  const int64_t taps = span_count(w, 2, static_cast<int64_t>(w.size())), cout = channels.out * channels.groups,
                positions = element_count(y) / y[0] / cout;
  std::string coordinates, loops, pixel = "0", tap = "0", close;
  int64_t below = 1;
  for (size_t d = spatial; d-- > 0; below *= y[first + d])
    coordinates += fmt::format("  const int o{} = position / {} % {} + {};\n", d, below, y[first + d], conv.pads[d]);
  for (size_t d = 0; d < spatial; ++d) {
    loops += fmt::format(
        "  for (int k{0} = 0; k{0} < {1}; ++k{0}) {{\n    const int t{0} = o{0} - k{0} * {2}, p{0} = t{0} / {3};\n"
        "    if (t{0} < 0 || t{0} % {3} != 0 || p{0} >= {4}) continue;\n",
        d, w[2 + d], conv.dilations[d], conv.strides[d], x[first + d]);
    pixel = fmt::format("({} * {} + p{})", pixel, x[first + d], d);
    tap = fmt::format("({} * {} + k{})", tap, w[2 + d], d);
    close += "  }\n";
  }
  const bool constant = problem.is_constant(1);
  const std::string parameters = cuda::conv_parameters(problem, anchor, constant);
  // Constant weights are [taps][in][every out], others as they come: [in][out][taps] for each group.
  const std::string load =
      constant ? "const auto run = load_run<RUN>(w + ((i64)tap * CIN_GROUP + i) * N + c);"
               : fmt::format(
                     "Run<{0}, RUN> run;\n#pragma unroll\n      for (int j = 0; j < RUN; ++j)\n        run.v[j] = "
                     "w[(i64)((c / COUT_GROUP * CIN_GROUP + i) * COUT_GROUP + c % COUT_GROUP + j) * {1} + tap];",
                     cuda::element_type(problem.inputs[1].dtype), taps);
  const std::string plain = fmt::format("y[index] = ({})(sums[0]{});", cuda::element_type(problem.outputs[0].dtype),
                                        has(problem, 2) ? " + (float)bias[c]" : "");
  cuda::Source source{fmt::format(
      R"cuda(
#define M {0}
#define N {1}
#define RUN {2}
#define CIN_GROUP {3}
#define COUT_GROUP {4}
#define CHANNEL {5}
#define PIXEL {6}
#define PARAMETERS {7}
#define ARGUMENTS {8}
typedef float Sum;
{9}
extern "C" __global__ void kernel(PARAMETERS) {{
  begin();
  const i64 index = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (index >= (i64)M * N) return;
  const int {10};
  const auto* image = x + (i64)image_index * {11} + (i64)(c / COUT_GROUP * CIN_GROUP) * CHANNEL;
  Sum sums[RUN] = {{}};
{12}{13}    const auto* from = image + {14} * PIXEL;
    const int tap = {15};
#pragma unroll 4
    for (int i = 0; i < CIN_GROUP; ++i) {{
      const float value = from[i * CHANNEL];
      {18}
#pragma unroll
      for (int j = 0; j < RUN; ++j) sums[j] += value * (float)run.v[j];
    }}
{16}  {17}
}}
)cuda",
      y[0] * positions, cout, channels.run, channels.in, channels.out,
      conv.channels_last ? 1 : element_count(x) / x[0] / (channels.in * channels.groups),
      conv.channels_last ? channels.in * channels.groups : 1, parameters, cuda::arguments_of(parameters), anchor.store,
      conv.channels_last
          ? fmt::format("c = index % N, m = index / N, position = m % {0}, image_index = m / {0}", positions)
          : fmt::format("c = index / {0} % N, position = index % {0}, image_index = index / {0} / N", positions),
      element_count(x) / x[0], coordinates, loops, pixel, tap, close,
      conv.channels_last ? "store(ARGUMENTS, 0, m, c, sums);" : plain, load)};
  if (!constant) return source;
  const Tensor weights = problem.constants[1].reshaped({channels.groups, channels.in, channels.out, taps});
  return cuda::with_weights(std::move(source), cuda::permuted(weights, {3, 1, 0, 2}));
}

cuda::Launch launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.outputs[0])) / Channels(problem).run);
}

}  // namespace

std::span<const Tactic> cuda_conv_transpose_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.conv_transpose")};
  return kRows;
}

}  // namespace hone
