// Pooling of regions: a thread computes one bin of one channel. A region that cannot be pooled sets the fault.
#include "ops/roi.h"

#include "ops/elements.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

constexpr std::string_view kFault = "a region is too large, or of an image that is not there";

template <class T>
std::string supports(const Problem& problem) {
  if (problem.op.as<T>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  for (const TensorType& t : {problem.inputs[0], problem.outputs[0]})
    if (const int64_t count = element_count(dims_of(t)); count == 0 || count > INT32_MAX)
      return count == 0 ? "empty" : "2^31 elements or more";
  return {};
}

std::string align_supports(const Problem& problem) {
  if (std::string reason = supports<RoiAlign>(problem); !reason.empty()) return reason;
  if (dims_of(problem.inputs[2]) != Dims{dims_of(problem.inputs[1])[0]}) return "indices that do not fit the regions";
  return cuda::element_type(problem.inputs[2].dtype) == nullptr ? "indices of no type that kernels read" : "";
}

// The sizes, and the start of the kernel: `region` is the row of the bin's region, of `columns`.
std::string head_of(const Problem& problem, int columns, double scale) {
  const Dims x = dims_of(problem.inputs[0]), y = dims_of(problem.outputs[0]);
  return fmt::format(R"cuda(
#define IMAGES {}
#define CHANNELS {}
#define HEIGHT {}
#define WIDTH {}
#define ROWS {}
#define COLUMNS {}
#define SCALE ((double){})
typedef {} T;
#define START \
  begin(); \
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; \
  if (i >= {}) return; \
  const int column = i % COLUMNS, row = i / COLUMNS % ROWS, plane = i / (COLUMNS * ROWS); \
  const int channel = plane % CHANNELS, region = plane / CHANNELS; \
  const T* roi = rois + (i64)region * {};
)cuda",
                     x[0], x[1], x[2], x[3], y[2], y[3], scale, cuda::element_type(problem.inputs[0].dtype),
                     element_count(y), columns);
}

// How many samples a bin has depends on its size: that is computed in doubles, as the reference does.
// NOLINTNEXTLINE(readability-function-size): most is the text of a kernel
Result<cuda::Source> align_source(const Problem& problem) {
  const RoiAlign& op = *problem.op.as<RoiAlign>();
  return cuda::Source{head_of(problem, 4, op.spatial_scale) +
                      fmt::format(R"cuda(
struct Span {{
  float start, bin;
  int samples;
}};
__device__ inline Span span_of(double from, double to, int bins, int* fault) {{
  const double start = from * SCALE - {0};
  double size = to * SCALE - {0} - start;
  const bool fits = fabs(start) <= 1e9 && fabs(size) <= 1e9;
  if (!{1:d} && size < 1) size = 1;
  const double bin = size / bins, samples = {2} > 0 ? {2} : ceil(bin);
  if (fits && samples <= 4096) return {{(float)start, (float)bin, samples > 0 ? (int)samples : 0}};
  *fault = 1;
  return {{0, 0, 0}};
}}
struct Place {{
  int low, high;
  float part;
  __device__ Place(float v, int size) {{
    v = fminf(fmaxf(v, 0), size - 1);
    low = (int)v;
    high = min(low + 1, size - 1);
    part = v - low;
  }}
}};
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x, const T* __restrict__ rois,
                                  const {3}* __restrict__ images, int* fault) {{
  START
  const i64 image = images[region];
  const Span v = span_of((float)roi[1], (float)roi[3], ROWS, fault);
  const Span h = span_of((float)roi[0], (float)roi[2], COLUMNS, fault);
  if (image < 0 || image >= IMAGES) {{
    *fault = 1;
    return;
  }}
  const T* from = x + (image * CHANNELS + channel) * (HEIGHT * WIDTH);
  float sum = 0, top = v.samples * h.samples > 0 ? -INF : 0;
  for (int k = 0; k < v.samples; ++k)
    for (int l = 0; l < h.samples; ++l) {{
      const float down = v.start + row * v.bin + (k + 0.5f) * v.bin / v.samples;
      const float across = h.start + column * h.bin + (l + 0.5f) * h.bin / h.samples;
      if (down < -1 || down > HEIGHT || across < -1 || across > WIDTH) {{
        top = fmaxf(top, 0);
        continue;
      }}
      const Place p(down, HEIGHT), q(across, WIDTH);
      const float a = (1 - p.part) * (1 - q.part) * (float)from[p.low * WIDTH + q.low];
      const float b = (1 - p.part) * q.part * (float)from[p.low * WIDTH + q.high];
      const float c = p.part * (1 - q.part) * (float)from[p.high * WIDTH + q.low];
      const float d = p.part * q.part * (float)from[p.high * WIDTH + q.high];
      sum += a + b + c + d;
      top = fmaxf(top, fmaxf(fmaxf(a, b), fmaxf(c, d)));
    }}
  y[i] = (T)({4});
}}
)cuda",
                                  op.half_pixel ? 0.5 : 0.0, op.half_pixel, op.sampling_ratio,
                                  cuda::element_type(problem.inputs[2].dtype),
                                  op.mode == "max" ? "top" : "sum / max(v.samples * h.samples, 1)")};
}

Result<cuda::Source> max_source(const Problem& problem) {
  return cuda::Source{head_of(problem, 5, problem.op.as<MaxRoiPool>()->spatial_scale) + R"cuda(
struct Range {
  int from, to;
  // Bin `at` of `bins` along a dim of `size` elements.
  __device__ Range(double low, double high, int at, int bins, int size) {
    const double start = round(low * SCALE), length = fmax(round(high * SCALE) - start + 1, 1.0), bin = length / bins;
    from = (int)fmin(fmax(floor(at * bin) + start, 0.0), (double)size);
    to = (int)fmin(fmax(ceil((at + 1) * bin) + start, 0.0), (double)size);
  }
};
extern "C" __global__ void kernel(T* __restrict__ y, const T* __restrict__ x, const T* __restrict__ rois, int* fault) {
  START
  const float image = roi[0];
  bool fits = image >= 0 && image < IMAGES;
  for (int k = 1; k < 5; ++k) fits = fits && fabs((double)(float)roi[k] * SCALE) <= 1e9;
  if (!fits) {
    *fault = 1;
    return;
  }
  const Range down((float)roi[2], (float)roi[4], row, ROWS, HEIGHT);
  const Range across((float)roi[1], (float)roi[3], column, COLUMNS, WIDTH);
  const T* from = x + ((i64)(int)image * CHANNELS + channel) * (HEIGHT * WIDTH);
  const bool empty = down.from >= down.to || across.from >= across.to;
  float top = empty ? 0 : (float)from[down.from * WIDTH + across.from];
  for (int k = down.from; k < down.to; ++k)
    for (int l = across.from; l < across.to; ++l) {
      const float value = from[k * WIDTH + l];
      top = top < value ? value : top;
    }
  y[i] = (T)top;
}
)cuda"};
}

cuda::Launch launch(const Problem& problem) {
  cuda::Launch launch = cuda::launch_output(problem);
  launch.fault = kFault;
  return launch;
}

}  // namespace

std::span<const Tactic> cuda_roi_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<align_supports, align_source, launch>("cuda.roi_align"),
                                     cuda::row<supports<MaxRoiPool>, max_source, launch>("cuda.max_roi_pool")};
  return kRows;
}

}  // namespace hone
