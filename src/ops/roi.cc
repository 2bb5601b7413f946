#include "ops/roi.h"

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr double kMaxSamples = 4096;  // a bin and dim
constexpr double kMaxPosition = 1e9;

// The result's shape from x [N, C, H, W] and the regions [R, columns].
Result<Types> pooled(const InferArgs& args, int64_t columns, int64_t height, int64_t width) {
  const TensorType &x = args.type(0), &rois = args.type(1);
  if (!is_float(x.dtype) || rois.dtype != x.dtype)
    return invalid("pooling of {} over regions in {}", name(x.dtype), name(rois.dtype));
  if (x.shape.ranked && x.shape.rank() != 4) return invalid("the input is {}, expected rank 4", to_text(x));
  if (rois.shape.ranked &&
      (rois.shape.rank() != 2 || (rois.shape.dims[1].known() && rois.shape.dims[1].value != columns)))
    return invalid("the regions are {}, expected {}", to_text(rois), counted(columns, "column"));
  if (height < 1 || width < 1) return invalid("the pooled size is {} x {}", height, width);
  const Dim regions = rois.shape.ranked ? rois.shape.dims[0] : Dim(),
            channels = x.shape.ranked ? x.shape.dims[1] : Dim();
  return Types{{x.dtype, Shape({regions, channels, Dim(height), Dim(width)})}};
}

// One spatial dim of a region: where its bins start, how large they are and how many samples each has.
struct Span {
  double start, bin;
  int64_t samples;
};

struct Corner {
  int64_t offset;
  double weight;
};

// The four elements around a position and their weights; none when it is outside.
std::vector<Corner> corners(double y, double x, int64_t height, int64_t width) {
  if (y < -1 || y > static_cast<double>(height) || x < -1 || x > static_cast<double>(width)) return {};
  const auto split = [](double v, int64_t size, int64_t& low, int64_t& high, double& part) {
    v = std::clamp(v, 0.0, static_cast<double>(size - 1));
    low = static_cast<int64_t>(v);
    high = std::min(low + 1, size - 1);
    part = v - static_cast<double>(low);
  };
  int64_t y0, y1, x0, x1;
  double v, u;
  split(y, height, y0, y1, v);
  split(x, width, x0, x1, u);
  return {{y0 * width + x0, (1 - v) * (1 - u)},
          {y0 * width + x1, (1 - v) * u},
          {y1 * width + x0, v * (1 - u)},
          {y1 * width + x1, v * u}};
}

Result<Span> span_of(const RoiAlign& op, double from, double to, int64_t bins) {
  const double shift = op.half_pixel ? 0.5 : 0;
  const double start = from * op.spatial_scale - shift;
  double size = to * op.spatial_scale - shift - start;
  if (!(std::abs(start) <= kMaxPosition && std::abs(size) <= kMaxPosition))
    return invalid("a region goes from {} to {}", from, to);
  if (!op.half_pixel) size = std::max(size, 1.0);
  const double bin = size / static_cast<double>(bins);
  const double samples = op.sampling_ratio > 0 ? static_cast<double>(op.sampling_ratio) : std::max(0.0, std::ceil(bin));
  if (samples > kMaxSamples) return invalid("a bin of {} elements has too many samples", bin);
  return Span{start, bin, static_cast<int64_t>(samples)};
}

double align_bin(const RoiAlign& op, const Span& v, const Span& h, int64_t row, int64_t column, const double* plane,
                 int64_t height, int64_t width) {
  double sum = 0, top = 0;
  bool first = true;
  for (int64_t i = 0; i < v.samples; ++i) {
    const double y = v.start + static_cast<double>(row) * v.bin +
                     (static_cast<double>(i) + 0.5) * v.bin / static_cast<double>(v.samples);
    for (int64_t j = 0; j < h.samples; ++j) {
      const double x = h.start + static_cast<double>(column) * h.bin +
                       (static_cast<double>(j) + 0.5) * h.bin / static_cast<double>(h.samples);
      double largest = -INFINITY;
      const auto around = corners(y, x, height, width);
      for (const Corner& c : around) {
        sum += c.weight * plane[c.offset];
        largest = std::max(largest, c.weight * plane[c.offset]);
      }
      if (around.empty()) largest = 0;
      top = first ? largest : std::max(top, largest);
      first = false;
    }
  }
  return op.mode == "max" ? top : sum / static_cast<double>(std::max<int64_t>(v.samples * h.samples, 1));
}

}  // namespace

Result<Types> RoiAlign::infer(const InferArgs& args) const {
  if (mode != "avg" && mode != "max") return invalid("there is no pooling mode '{}'", mode);
  if (sampling_ratio < 0) return invalid("sampling_ratio is {}", sampling_ratio);
  if (!is_integer(args.type(2).dtype)) return invalid("batch indices are {}", name(args.type(2).dtype));
  return pooled(args, 4, height, width);
}

Result<Tensors> RoiAlign::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, 1}));
  const Dims dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, dims));
  const Dims& in = args[0].dims();
  const auto x = numbers_of<double>(args[0]), rois = numbers_of<double>(args[1]);
  const auto images = args[2].to_ints();
  if (static_cast<int64_t>(images.size()) != dims[0])
    return invalid("{} for {}", counted(images.size(), "batch index", "batch indices"), counted(dims[0], "region"));
  if (in[2] == 0 || in[3] == 0) return invalid("the input {} is empty", to_string(in));
  std::vector<double> out;
  for (int64_t r = 0; r < dims[0]; ++r) {
    const int64_t image = images[static_cast<size_t>(r)];
    if (image < 0 || image >= in[0])
      return invalid("batch index {} is out of range for {}", image, counted(in[0], "image"));
    const double* roi = rois.data() + r * 4;
    HONE_TRY(const Span v, span_of(*this, roi[1], roi[3], height));
    HONE_TRY(const Span h, span_of(*this, roi[0], roi[2], width));
    for (int64_t c = 0; c < in[1]; ++c)
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < width; ++j)
          out.push_back(align_bin(*this, v, h, i, j, x.data() + (image * in[1] + c) * in[2] * in[3], in[2], in[3]));
  }
  return Tensors{tensor_from(types[0].dtype, dims, out)};
}

Result<Types> MaxRoiPool::infer(const InferArgs& args) const { return pooled(args, 5, height, width); }

Result<Tensors> MaxRoiPool::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, 1}));
  const Dims dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, dims));
  const Dims& in = args[0].dims();
  const auto x = numbers_of<double>(args[0]), rois = numbers_of<double>(args[1]);
  std::vector<double> out;
  // Bin `at` of `bins` along a dim of `size` elements, for a region from `low` to `high`.
  const auto range = [&](double low, double high, int64_t at, int64_t bins, int64_t size) {
    const double start = std::round(low * spatial_scale),
                 length = std::max(std::round(high * spatial_scale) - start + 1, 1.0);
    const double bin = length / static_cast<double>(bins), limit = static_cast<double>(size);
    const double from = std::floor(static_cast<double>(at) * bin) + start,
                 to = std::ceil(static_cast<double>(at + 1) * bin) + start;
    return std::pair(static_cast<int64_t>(std::clamp(from, 0.0, limit)),
                     static_cast<int64_t>(std::clamp(to, 0.0, limit)));
  };
  for (int64_t r = 0; r < dims[0]; ++r) {
    const double* roi = rois.data() + r * 5;
    if (!(roi[0] >= 0 && roi[0] < static_cast<double>(in[0])))
      return invalid("batch index {} is out of range for {}", roi[0], counted(in[0], "image"));
    for (int k = 1; k < 5; ++k)
      if (!(std::abs(roi[k] * spatial_scale) <= kMaxPosition)) return invalid("a region has the coordinate {}", roi[k]);
    for (int64_t c = 0; c < in[1]; ++c) {
      const double* plane = x.data() + (static_cast<int64_t>(roi[0]) * in[1] + c) * in[2] * in[3];
      for (int64_t i = 0; i < height; ++i) {
        const auto [y0, y1] = range(roi[2], roi[4], i, height, in[2]);
        for (int64_t j = 0; j < width; ++j) {
          const auto [x0, x1] = range(roi[1], roi[3], j, width, in[3]);
          double top = y0 < y1 && x0 < x1 ? plane[y0 * in[3] + x0] : 0;
          for (int64_t y = y0; y < y1; ++y)
            for (int64_t k = x0; k < x1; ++k) top = std::max(top, plane[y * in[3] + k]);
          out.push_back(top);
        }
      }
    }
  }
  return Tensors{tensor_from(types[0].dtype, dims, out)};
}

std::span<const OpRow> roi_ops() {
  static constexpr OpRow kRows[] = {op_row<RoiAlign>(), op_row<MaxRoiPool>()};
  return kRows;
}

}  // namespace hone
