// Convolutions of any number of spatial dims, of either layout, in groups or not, whose weights may be known only at
// run time: a thread sums RUN channels of one position.
#include "ops/conv.h"

#include "ops/elements.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

bool is_whole(DType type) { return type == DType::i8 || type == DType::u8 || type == DType::i32; }

std::string supports(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, Conv::kName);
  if (!anchor) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const DType data = anchor->data.dtype, weights = problem.inputs[1].dtype;
  if (!cuda::is_real_element(data) && !is_whole(data)) return fmt::format("{} elements", name(data));
  if (weights != data && !(is_whole(weights) && is_whole(data))) return "weights of another type";
  if (is_whole(data) && anchor->inputs > 2 && has(problem, 2)) return "a bias of integers";
  return cuda::refuse_gathered(problem, *anchor, anchor->op.as<Conv>()->channels_last);
}

// Channels of a group that a thread takes at once.
int run_of(const Problem& problem) {
  const Conv& conv = *cuda::view_anchor(problem, Conv::kName)->op.as<Conv>();
  const int64_t outputs = dims_of(problem.inputs[1])[0] / conv.groups;
  return outputs % 4 == 0 ? 4 : outputs % 2 == 0 ? 2 : 1;
}

// A loop a spatial dim over the taps, which skips those that lie outside of the image.
// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> source(const Problem& problem) {
  const auto anchor = *cuda::view_anchor(problem, Conv::kName);
  const Conv& conv = *anchor.op.as<Conv>();
  const Dims x = dims_of(problem.inputs[0]), w = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const size_t spatial = conv.strides.size(), first = conv.channels_last ? 1 : 2;
  const int64_t cin = w[1] * conv.groups, cout = w[0], positions = element_count(y) / y[0] / cout;
  std::string coordinates, loops, pixel = "0", tap = "0";
  int64_t below = 1;
  for (size_t d = spatial; d-- > 0; below *= y[first + d])
    coordinates += fmt::format("  const int o{} = position / {} % {} * {} - {};\n", d, below, y[first + d],
                               conv.strides[d], conv.pads[d]);
  for (size_t d = 0; d < spatial; ++d) {
    loops +=
        fmt::format("  for (int k{0} = 0, p{0} = o{0}; k{0} < {1}; ++k{0}, p{0} += {2}) if (p{0} >= 0 && p{0} < {3})\n",
                    d, w[2 + d], conv.dilations[d], x[first + d]);
    pixel = fmt::format("({} * {} + p{})", pixel, x[first + d], d);
    tap = fmt::format("({} * {} + k{})", tap, w[2 + d], d);
  }
  const std::string parameters = cuda::conv_parameters(problem, anchor, false);
  const char* sum = cuda::is_real_element(anchor.data.dtype) ? "float" : "int";
  const std::string plain = fmt::format(
      "#pragma unroll\n  for (int j = 0; j < RUN; ++j)\n"
      "    y[(i64)(image_index * N + c + j) * {} + position] = ({})(sums[j]{});",
      positions, cuda::element_type(problem.outputs[0].dtype), has(problem, 2) ? " + (Sum)bias[c + j]" : "");
  return cuda::Source{fmt::format(
      R"cuda(
#define N {0}
#define RUN {1}
#define CIN_GROUP {2}
#define COUT_GROUP {3}
#define TAPS {4}
#define CHANNEL {5}
#define PIXEL {6}
{7}typedef {8} Sum;
{9}
extern "C" __global__ void kernel(PARAMETERS) {{
  begin();
  const i64 run_index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (run_index >= (i64)M * (N / RUN)) return;
  const int {10};
  const auto* image = x + (i64)image_index * {11} + (i64)(c / COUT_GROUP * CIN_GROUP) * CHANNEL;
  const auto* filters = w + (i64)c * (CIN_GROUP * TAPS);
  Sum sums[RUN] = {{}};
{12}{13}  {{
    const auto* from = image + (i64){14} * PIXEL;
    const auto* weights = filters + {15};
#pragma unroll 4
    for (int i = 0; i < CIN_GROUP; ++i) {{
      const Sum value = from[(i64)i * CHANNEL];
#pragma unroll
      for (int j = 0; j < RUN; ++j) sums[j] += value * (Sum)weights[(j * CIN_GROUP + i) * TAPS];
    }}
  }}
{16}
}}
)cuda",
      cout, run_of(problem), w[1], cout / conv.groups, element_count(w) / (w[0] * w[1]),
      conv.channels_last ? 1 : element_count(x) / x[0] / cin, conv.channels_last ? cin : 1,
      cuda::define_parameters(parameters + cuda::kRows), sum, anchor.store,
      conv.channels_last
          ? fmt::format("c = run_index % (N / RUN) * RUN, m = run_index / (N / RUN), position = m % {0}, "
                        "image_index = m / {0}",
                        positions)
          : fmt::format("c = run_index / {0} % (N / RUN) * RUN, position = run_index % {0}, "
                        "image_index = run_index / {0} / (N / RUN)",
                        positions),
      element_count(x) / x[0], coordinates, loops, pixel, tap,
      conv.channels_last ? "  store(ARGUMENTS, 0, m, c, sums);" : plain)};
}

cuda::Launch launch(const Problem& problem) {
  const int64_t count = element_count(dims_of(problem.outputs[0])), channels = dims_of(problem.inputs[1])[0];
  cuda::Launch launch = cuda::elementwise(count / run_of(problem));
  launch.extents = {static_cast<int>(count / channels)};
  return launch;
}

}  // namespace

std::span<const Tactic> cuda_conv_direct_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.conv_direct", 3)};
  return kRows;
}

}  // namespace hone
