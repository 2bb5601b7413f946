// A deformable convolution, plainly: a thread sums RUN channels of one position, and finds where the taps lie once for
// all channels that share their offsets.
#include "ops/deform_conv.h"

#include "ops/elements.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

std::string supports(const Problem& problem) {
  if (problem.op.as<DeformConv>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  for (const Types& types : {problem.inputs, problem.outputs})
    for (const TensorType& t : types)
      if (const int64_t count = t.defined() ? element_count(dims_of(t)) : 1; count == 0 || count > INT32_MAX)
        return count == 0 ? "empty" : "2^31 elements or more";
  return {};
}

int run_of(const Problem& problem) {
  const int64_t outputs = dims_of(problem.inputs[1])[0] / problem.op.as<DeformConv>()->groups;
  return outputs % 4 == 0 ? 4 : outputs % 2 == 0 ? 2 : 1;
}

// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> source(const Problem& problem) {
  const DeformConv& op = *problem.op.as<DeformConv>();
  const Dims x = dims_of(problem.inputs[0]), w = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const size_t rank = x.size() - 2;
  const int64_t taps = span_count(w, 2, static_cast<int64_t>(w.size())), positions = element_count(y) / y[0] / y[1];
  std::string coordinates, loops, places, corner, tap = "0";
  int64_t below = 1;
  for (size_t d = rank; d-- > 0; below *= y[2 + d])
    coordinates +=
        fmt::format("  const int o{} = position / {} % {} * {} - {};\n", d, below, y[2 + d], op.strides[d], op.pads[d]);
  for (size_t d = 0; d < rank; ++d) {
    loops += fmt::format("  for (int k{0} = 0; k{0} < {1}; ++k{0})\n", d, w[2 + d]);
    tap = fmt::format("({} * {} + k{})", tap, w[2 + d], d);
    places += fmt::format(
        "      const float t{0} = o{0} + k{0} * {1} + (float)offsets[(row * {2} + {0}) * POSITIONS + position];\n"
        "      const bool near{0} = t{0} > -1 && t{0} < {3};\n"
        "      const int low{0} = near{0} ? (int)floorf(t{0}) : 0;\n",
        d, op.dilations[d], rank, x[2 + d]);
    corner += fmt::format(
        "        const int bit{0} = k >> {0} & 1, p{0} = low{0} + bit{0};\n"
        "        inside = inside && near{0} && p{0} >= 0 && p{0} < {1};\n"
        "        place = place * {1} + p{0};\n"
        "        weights[k] *= bit{0} ? t{0} - low{0} : 1 - (t{0} - low{0});\n",
        d, x[2 + d]);
  }
  return cuda::Source{fmt::format(
      R"cuda(
#define CIN {0}
#define COUT {1}
#define RUN {2}
#define CIN_GROUP {3}
#define COUT_GROUP {4}
#define SHARERS {5}
#define TAPS {6}
#define POSITIONS {7}
#define CORNERS {8}
typedef {9} T;
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x, const T* __restrict__ w,
                                  const T* __restrict__ offsets{10}) {{
  begin();
  const i64 run_index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (run_index >= {11}) return;
  const int position = run_index % POSITIONS, c = run_index / POSITIONS % (COUT / RUN) * RUN;
  const int image = run_index / POSITIONS / (COUT / RUN);
  const int first = c / COUT_GROUP * CIN_GROUP, end = first + CIN_GROUP;
  float sums[RUN] = {{}};
{12}  for (int sharers = first / SHARERS; sharers * SHARERS < end; ++sharers)
{13}    {{
      const int tap = {14};
      const i64 row = ((i64)image * (CIN / SHARERS) + sharers) * TAPS + tap;
{15}      int places[CORNERS];
      float weights[CORNERS];
#pragma unroll
      for (int k = 0; k < CORNERS; ++k) {{
        bool inside = true;
        int place = 0;
        weights[k] = {16};
{17}        places[k] = inside ? place : -1;
      }}
      for (int i = max(first, sharers * SHARERS); i < min(end, (sharers + 1) * SHARERS); ++i) {{
        const T* from = x + ((i64)image * CIN + i) * {18};
        float value = 0;
#pragma unroll
        for (int k = 0; k < CORNERS; ++k)
          if (places[k] >= 0) value += weights[k] * (float)from[places[k]];
#pragma unroll
        for (int j = 0; j < RUN; ++j) sums[j] += value * (float)w[((c + j) * CIN_GROUP + i - first) * TAPS + tap];
      }}
    }}
#pragma unroll
  for (int j = 0; j < RUN; ++j) y[((i64)image * COUT + c + j) * POSITIONS + position] = (T)(sums[j]{19});
}}
)cuda",
      x[1], y[1], run_of(problem), w[1], y[1] / op.groups, x[1] / op.offset_groups, taps, positions, 1 << rank,
      cuda::element_type(problem.inputs[0].dtype),
      std::string(has(problem, 3) ? ", const T* __restrict__ bias" : "") +
          (has(problem, 4) ? ", const T* __restrict__ mask" : ""),
      element_count(y) / run_of(problem), coordinates, loops, tap, places,
      has(problem, 4) ? "mask[row * POSITIONS + position]" : "1", corner, element_count(x) / x[0] / x[1],
      has(problem, 3) ? " + (float)bias[c + j]" : "")};
}

cuda::Launch launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.outputs[0])) / run_of(problem));
}

}  // namespace

std::span<const Tactic> cuda_deform_conv_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.deform_conv")};
  return kRows;
}

}  // namespace hone
