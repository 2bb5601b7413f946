#include "ops/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/counted.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr std::string_view kCoordinates[] = {"half_pixel",          "half_pixel_symmetric", "pytorch_half_pixel",
                                             "align_corners",       "asymmetric",           "tf_crop_and_resize",
                                             "tf_half_pixel_for_nn"};
constexpr std::string_view kNearestModes[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
constexpr double kMaxSize = 1e15, kMaxRoi = 1e3;

Status check_attributes(const Resize& op) {
  const auto known = [](std::span<const std::string_view> names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (op.mode != "nearest" && op.mode != "linear" && op.mode != "cubic")
    return invalid("there is no resize mode '{}'", op.mode);
  if (!known(kCoordinates, op.coordinates))
    return invalid("there is no coordinate transformation '{}'", op.coordinates);
  if (!known(kNearestModes, op.nearest_mode)) return invalid("there is no nearest mode '{}'", op.nearest_mode);
  if (op.aspect_policy != "stretch" && op.aspect_policy != "not_larger" && op.aspect_policy != "not_smaller")
    return invalid("there is no aspect ratio policy '{}'", op.aspect_policy);
  if (op.antialias && op.mode == "nearest") return invalid("antialiasing has no meaning for nearest");
  return {};
}

// The axes that the inputs speak of, in their order.
Result<std::vector<size_t>> resized_axes(const Resize& op, int64_t rank) {
  std::vector<size_t> out;
  for (int64_t a : op.axes) {
    const int64_t axis = a < 0 ? a + rank : a;
    if (axis < 0 || axis >= rank) return invalid("axis {} is out of range for rank {}", a, rank);
    if (std::find(out.begin(), out.end(), static_cast<size_t>(axis)) != out.end())
      return invalid("axis {} is given twice", a);
    out.push_back(static_cast<size_t>(axis));
  }
  for (int64_t i = 0; i < rank && op.axes.empty(); ++i) out.push_back(static_cast<size_t>(i));
  return out;
}

// How one dim is resized. `in` and `out` are -1 while unknown.
struct Line {
  int64_t in = 0, out = 0;
  double scale = 1, start = 0, end = 1;  // start, end: the region of interest
};

bool present(const Tensor& t) { return t.defined() && t.count() > 0; }

Status check_count(const Tensor& t, const char* what, size_t count) {
  if (static_cast<size_t>(t.count()) != count)
    return invalid("{} has {}, expected {}", what, counted(t.count(), "element"), count);
  return {};
}

Result<int64_t> checked_size(double size) {
  if (!(size >= 0) || size > kMaxSize) return invalid("a dim would be resized to {}", size);
  return static_cast<int64_t>(size);
}

Status apply_scales(const Tensor& scales, const std::vector<size_t>& axes, std::vector<Line>& lines) {
  HONE_CHECK(check_count(scales, "scales", axes.size()));
  for (size_t i = 0; i < axes.size(); ++i) {
    Line& line = lines[axes[i]];
    line.scale = scales.at(static_cast<int64_t>(i));
    if (!(line.scale > 0)) return invalid("a scale is {}", line.scale);
    if (line.in < 0) continue;
    HONE_TRY(line.out, checked_size(std::floor(static_cast<double>(line.in) * line.scale)));
  }
  return {};
}

Status apply_sizes(const Tensor& sizes, const std::string& policy, const std::vector<size_t>& axes,
                   std::vector<Line>& lines) {
  HONE_CHECK(check_count(sizes, "sizes", axes.size()));
  double common = policy == "not_smaller" ? 0 : INFINITY;
  bool known = true;
  for (size_t i = 0; i < axes.size(); ++i) {
    Line& line = lines[axes[i]];
    HONE_TRY(line.out, checked_size(sizes.at(static_cast<int64_t>(i))));
    known &= line.in > 0;
    line.scale = line.in > 0 ? static_cast<double>(line.out) / static_cast<double>(line.in) : 1;
    common = policy == "not_smaller" ? std::max(common, line.scale) : std::min(common, line.scale);
  }
  if (policy == "stretch") return {};
  for (size_t axis : axes) {
    Line& line = lines[axis];
    line.out = -1;
    if (!known) continue;
    line.scale = common;
    HONE_TRY(line.out, checked_size(std::floor(common * static_cast<double>(line.in) + 0.5)));
  }
  return {};
}

// Everything that the inputs say, for dims `in` (-1 where unknown).
Result<std::vector<Line>> lines_of(const Resize& op, std::span<const int64_t> in, const Tensor& roi,
                                   const Tensor& scales, const Tensor& sizes) {
  HONE_CHECK(check_attributes(op));
  HONE_TRY(const auto axes, resized_axes(op, static_cast<int64_t>(in.size())));
  if (present(scales) && present(sizes)) return invalid("both scales and sizes are given");
  std::vector<Line> lines(in.size());
  for (size_t i = 0; i < in.size(); ++i) lines[i].in = lines[i].out = in[i];
  if (op.coordinates == "tf_crop_and_resize" && present(roi)) {
    HONE_CHECK(check_count(roi, "roi", 2 * axes.size()));
    for (double v : roi.to_doubles())
      if (!(std::abs(v) <= kMaxRoi)) return invalid("roi holds {}", v);
    for (size_t i = 0; i < axes.size(); ++i) {
      lines[axes[i]].start = roi.at(static_cast<int64_t>(i));
      lines[axes[i]].end = roi.at(static_cast<int64_t>(axes.size() + i));
    }
  }
  if (present(scales)) HONE_CHECK(apply_scales(scales, axes, lines));
  else if (present(sizes)) HONE_CHECK(apply_sizes(sizes, op.aspect_policy, axes, lines));
  else
    for (size_t axis : axes) lines[axis].out = -1;
  return lines;
}

// Where position `x` of the output lies in the input.
double source_position(const std::string& mode, const Line& l, double x) {
  const double in = static_cast<double>(l.in), wide = l.scale * in;
  if (mode == "align_corners") return wide == 1 ? 0 : x * (in - 1) / (wide - 1);
  if (mode == "asymmetric") return x / l.scale;
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5) / l.scale;
  if (mode == "tf_crop_and_resize")
    return l.start * (in - 1) +
           (wide == 1 ? 0.5 * (l.end - l.start) * (in - 1) : x * (l.end - l.start) * (in - 1) / (wide - 1));
  if (mode == "pytorch_half_pixel" && l.out <= 1) return 0;
  const double shift = mode == "half_pixel_symmetric" ? in / 2 * (1 - static_cast<double>(l.out) / wide) : 0;
  return shift + (x + 0.5) / l.scale - 0.5;
}

int64_t nearest_index(const std::string& mode, double x) {
  const double low = std::floor(x), part = x - low;
  const bool up = mode == "ceil"                 ? part > 0
                  : mode == "round_prefer_floor" ? part > 0.5
                                                 : mode == "round_prefer_ceil" && part >= 0.5;
  return static_cast<int64_t>(low) + up;
}

struct Tap {
  int64_t index;
  double weight;
};

double cubic_weight(double x, double a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

// The input elements that make up one output position, as the interpolating kernel weighs them. Antialiasing stretches
// it.
std::vector<Tap> taps_at(const Resize& op, const Line& line, double x) {
  const double radius = op.mode == "cubic" ? 2 : 1, squeeze = op.antialias ? std::min(line.scale, 1.0) : 1;
  const double low = std::floor(x), part = x - low;
  const auto first = static_cast<int64_t>(std::floor(-radius / squeeze)) + 1;
  std::vector<Tap> taps;
  double sum = 0;
  for (int64_t i = first; i <= 1 - first; ++i) {
    const double distance = squeeze * (static_cast<double>(i) - part);
    Tap tap{static_cast<int64_t>(low) + i,
            op.mode == "cubic" ? cubic_weight(distance, op.cubic_coeff_a) : std::max(0.0, 1 - std::abs(distance))};
    if (op.exclude_outside && (tap.index < 0 || tap.index >= line.in)) tap.weight = 0;
    tap.index = std::clamp<int64_t>(tap.index, 0, line.in - 1);
    sum += tap.weight;
    taps.push_back(tap);
  }
  if ((op.antialias || op.exclude_outside) && sum != 0)
    for (Tap& tap : taps) tap.weight /= sum;
  return taps;
}

bool unchanged(const Line& l) { return l.scale == 1 && l.in == l.out && l.start == 0 && l.end == 1; }

// Resizes axis `d` of `x`; `dims` become the new ones.
std::vector<double> interpolate(const Resize& op, const std::vector<double>& x, size_t d, const Line& line,
                                Dims& dims) {
  const int64_t inner = strides_of(dims)[d];
  dims[d] = line.out;
  std::vector<double> out(static_cast<size_t>(element_count(dims)));
  if (out.empty()) return out;
  const int64_t outer = static_cast<int64_t>(out.size()) / (inner * line.out);
  for (int64_t p = 0; p < line.out; ++p) {
    for (const Tap& tap : taps_at(op, line, source_position(op.coordinates, line, static_cast<double>(p)))) {
      for (int64_t o = 0; o < outer; ++o) {
        const double* from = x.data() + (o * line.in + tap.index) * inner;
        double* to = out.data() + (o * line.out + p) * inner;
        for (int64_t i = 0; i < inner; ++i) to[i] += tap.weight * from[i];
      }
    }
  }
  return out;
}

// Moves elements of any type: out[i] = x[offset of i], where each dim adds its part of the offset.
Tensor pick(const Tensor& x, const Dims& dims, const std::vector<std::vector<int64_t>>& offsets) {
  Tensor out(x.type(), dims);
  const size_t size = size_of(x.type());
  for (int64_t i = 0; i < out.count(); ++i) {
    int64_t from = 0, rest = i;
    for (size_t d = dims.size(); d-- > 0;) {
      from += offsets[d][static_cast<size_t>(rest % dims[d])];
      rest /= dims[d];
    }
    if (x.type() == DType::string) out.mutable_text()[static_cast<size_t>(i)] = x.text()[static_cast<size_t>(from)];
    else
      std::memcpy(out.mutable_data<char>() + static_cast<size_t>(i) * size,
                  x.data<char>() + static_cast<size_t>(from) * size, size);
  }
  return out;
}

Tensor resize_nearest(const Resize& op, const Tensor& x, const Dims& dims, const std::vector<Line>& lines) {
  const Dims strides = strides_of(x.dims());
  std::vector<std::vector<int64_t>> offsets(lines.size());
  for (size_t d = 0; d < lines.size(); ++d) {
    const Line& line = lines[d];
    for (int64_t p = 0; p < line.out; ++p) {
      int64_t at = p;
      if (!unchanged(line))
        at = nearest_index(op.nearest_mode, source_position(op.coordinates, line, static_cast<double>(p)));
      offsets[d].push_back(std::clamp<int64_t>(at, 0, line.in - 1) * strides[d]);
    }
  }
  return pick(x, dims, offsets);
}

Tensor resize_smooth(const Resize& op, const Tensor& x, const Dims& dims, const std::vector<Line>& lines) {
  auto values = numbers_of<double>(x);
  Dims now = x.dims();
  for (size_t d = 0; d < lines.size(); ++d)
    if (!unchanged(lines[d])) values = interpolate(op, values, d, lines[d], now);
  if (is_integer(x.type())) {
    const int bits = 8 * static_cast<int>(size_of(x.type()));
    const double limit = std::ldexp(1.0, is_signed(x.type()) ? bits - 1 : bits);
    const double low = is_signed(x.type()) ? -limit : 0, high = std::min(limit - 1, std::nextafter(limit, 0));
    for (double& v : values) v = std::clamp(std::nearbyint(v), low, high);
  }
  return tensor_from(x.type(), dims, values);
}

// tf_crop_and_resize: what lies outside the input is `extrapolation_value`.
void extrapolate(const Resize& op, const std::vector<Line>& lines, Tensor& out) {
  for (int64_t i = 0; i < out.count(); ++i) {
    int64_t rest = i;
    bool outside = false;
    for (size_t d = lines.size(); d-- > 0;) {
      const double x = source_position(op.coordinates, lines[d], static_cast<double>(rest % lines[d].out));
      outside |= !unchanged(lines[d]) && (x < 0 || x > static_cast<double>(lines[d].in - 1));
      rest /= lines[d].out;
    }
    if (outside) out.set(i, op.extrapolation_value);
  }
}

}  // namespace

Result<Types> Resize::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  HONE_CHECK(check_attributes(*this));
  if (mode != "nearest" && !is_numeric(x.dtype)) return invalid("{} cannot be interpolated", name(x.dtype));
  if (!x.shape.ranked) return Types{x};
  Dims in;
  for (const Dim& d : x.shape.dims) in.push_back(d.value);
  HONE_TRY(const auto lines, lines_of(*this, in, args.value(1), args.value(2), args.value(3)));
  Shape shape = x.shape;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].out >= 0) shape.dims[i] = Dim(lines[i].out);
    else if (lines[i].scale != 1 || !args.value(2).defined() || args.value(2).count() == 0) {
      HONE_TRY(const auto axes, resized_axes(*this, x.shape.rank()));
      if (std::find(axes.begin(), axes.end(), i) != axes.end()) shape.dims[i] = Dim();
    }
  }
  return Types{{x.dtype, shape}};
}

Result<Tensors> Resize::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (!present(args[2]) && !present(args[3])) return invalid("neither scales nor sizes are given");
  HONE_TRY(const auto lines, lines_of(*this, x.dims(), args[1], args[2], args[3]));
  Dims dims;
  for (const Line& line : lines) dims.push_back(line.out);
  HONE_CHECK(checked_bytes(x.type(), dims));
  if (element_count(dims) == 0) return Tensors{Tensor(x.type(), dims)};
  if (x.count() == 0)
    return invalid("an input of shape {} cannot be resized to {}", to_string(x.dims()), to_string(dims));
  Tensor out = mode == "nearest" ? resize_nearest(*this, x, dims, lines) : resize_smooth(*this, x, dims, lines);
  if (coordinates == "tf_crop_and_resize" && is_numeric(x.type())) extrapolate(*this, lines, out);
  return Tensors{out};
}

std::span<const OpRow> resize_ops() {
  static constexpr OpRow kRows[] = {op_row<Resize>()};
  return kRows;
}

}  // namespace hone
