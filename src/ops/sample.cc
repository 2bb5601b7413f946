#include "ops/sample.h"

#include <algorithm>
#include <cmath>

#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"
#include "ops/window.h"

namespace hone {
namespace {

constexpr double kFar = 1e9;  // positions beyond count as this far outside
constexpr double kCubicA = -0.75;

// A position in [-1, 1] as a position among `size` elements.
double denormalise(double v, int64_t size, bool align_corners) {
  const double d = static_cast<double>(size);
  const double x = align_corners ? (v + 1) / 2 * (d - 1) : ((v + 1) * d - 1) / 2;
  return std::isnan(x) ? -kFar : std::clamp(x, -kFar, kFar);
}

// x mirrored at both ends until it lies between them.
double reflect(double x, double low, double high) {
  const double span = high - low;
  if (span <= 0) return low;
  if (x >= low && x <= high) return x;
  const double over = x < low ? low - x : x - high;
  const double turns = std::floor(over / span), rest = over - turns * span;
  const bool from_low = (x < low) == (std::fmod(turns, 2) == 0);
  return from_low ? low + rest : high - rest;
}

// How positions along one dim are treated.
struct Axis {
  int64_t size;
  double low, high;  // where reflection happens
  const std::string& padding;

  Axis(const GridSample& op, int64_t size)
      : size(size),
        low(op.align_corners ? 0 : -0.5),
        high(static_cast<double>(size) - (op.align_corners ? 1 : 0.5)),
        padding(op.padding) {}

  double inside(double x) const {
    if (x >= low && x <= high) return x;
    if (padding == "border") return std::clamp(x, 0.0, static_cast<double>(size - 1));
    return padding == "reflection" ? reflect(x, low, high) : x;
  }
  // The element that index i stands for; -1 for a zero.
  int64_t element(int64_t i) const {
    if (i >= 0 && i < size) return i;
    if (padding == "zeros") return -1;
    const double x =
        padding == "border" ? static_cast<double>(i) : std::trunc(reflect(static_cast<double>(i), low, high));
    return std::clamp<int64_t>(static_cast<int64_t>(x), 0, size - 1);
  }
};

double cubic(double x) {
  x = std::abs(x);
  return x <= 1 ? ((kCubicA + 2) * x - (kCubicA + 3)) * x * x + 1 : ((x - 5) * x + 8) * x * kCubicA - 4 * kCubicA;
}

void axis_taps(const GridSample& op, const Axis& axis, double x, std::vector<Tap>& out) {
  out.clear();
  if (op.mode == "nearest") x = std::nearbyint(x);
  x = axis.inside(x);
  const int64_t reach = op.mode == "nearest" ? 0 : op.mode == "linear" ? 1 : 2;
  const auto low = static_cast<int64_t>(op.mode == "nearest" ? std::trunc(x) : std::floor(x));
  for (int64_t i = reach > 0 ? 1 - reach : 0; i <= reach; ++i) {
    const double distance = x - static_cast<double>(low + i);
    const double weight = reach == 0 ? 1 : reach == 1 ? 1 - std::abs(distance) : cubic(distance);
    const int64_t element = axis.element(low + i);
    if (element >= 0) out.push_back({element, weight});
  }
}

// The coordinate of element i of `size` in [-1, 1].
double normalised(int64_t i, int64_t size, bool align_corners) {
  const double n = static_cast<double>(size), at = static_cast<double>(i);
  if (align_corners) return size > 1 ? -1 + 2 * at / (n - 1) : -1;
  return (2 * at + 1) / n - 1;
}

}  // namespace

void combine_taps(std::span<const std::vector<Tap>> axes, std::span<const int64_t> dims, std::vector<Tap>& out) {
  out.assign(1, {0, 1});
  std::vector<Tap> wider;
  for (size_t d = 0; d < axes.size(); ++d) {
    wider.clear();
    for (const Tap& t : out)
      for (const Tap& u : axes[d]) wider.push_back({t.index * dims[d] + u.index, t.weight * u.weight});
    out.swap(wider);
  }
}

void linear_taps(double x, int64_t size, std::vector<Tap>& out) {
  out.clear();
  if (!(x > -1 && x < static_cast<double>(size))) return;
  const auto low = static_cast<int64_t>(std::floor(x));
  const double part = x - static_cast<double>(low);
  if (low >= 0) out.push_back({low, 1 - part});
  if (low + 1 < size) out.push_back({low + 1, part});
}

Result<Types> GridSample::infer(const InferArgs& args) const {
  const TensorType &x = args.type(0), &grid = args.type(1);
  if (mode != "nearest" && mode != "linear" && mode != "cubic") return invalid("there is no sampling mode '{}'", mode);
  if (padding != "zeros" && padding != "border" && padding != "reflection")
    return invalid("there is no padding '{}'", padding);
  if (!is_numeric(x.dtype) || !is_float(grid.dtype))
    return invalid("sampling of {} at {}", name(x.dtype), name(grid.dtype));
  const int64_t rank = x.shape.ranked ? x.shape.rank() : grid.shape.rank();
  if (rank < 0) return Types{{x.dtype, Shape::unranked()}};
  const Shape own = x.shape.ranked ? x.shape : Shape(std::vector<Dim>(static_cast<size_t>(rank)));
  const Shape at = grid.shape.ranked ? grid.shape : Shape(std::vector<Dim>(static_cast<size_t>(rank)));
  const bool fits = rank >= 3 && at.rank() == rank && (!at.dims.back().known() || at.dims.back().value == rank - 2) &&
                    (!at.dims[0].known() || !own.dims[0].known() || at.dims[0] == own.dims[0]);
  if (!fits) return invalid("the grid {} does not fit {}", to_text(grid), to_text(x));
  Shape shape({own.dims[0], own.dims[1]});
  shape.dims.insert(shape.dims.end(), at.dims.begin() + 1, at.dims.end() - 1);
  return Types{{x.dtype, shape}};
}

Result<Tensors> GridSample::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, 1}));
  const Dims dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, dims));
  const Activation in(args[0].dims(), false), to(dims, false);
  const auto x = numbers_of<double>(args[0]), grid = numbers_of<double>(args[1]);
  std::vector<double> out(static_cast<size_t>(element_count(dims)));
  const size_t rank = in.spatial.size();
  std::vector<std::vector<Tap>> axes(rank);
  std::vector<Tap> taps;
  for (int64_t i = 0; i < (in.positions > 0 ? in.batch * to.positions : 0); ++i) {
    for (size_t d = 0; d < rank; ++d) {
      const double v = grid[static_cast<size_t>(i) * rank + rank - 1 - d];
      axis_taps(*this, Axis(*this, in.spatial[d]), denormalise(v, in.spatial[d], align_corners), axes[d]);
    }
    combine_taps(axes, in.spatial, taps);
    const int64_t n = i / to.positions, p = i % to.positions;
    for (int64_t c = 0; c < in.channels; ++c)
      for (const Tap& t : taps)
        out[static_cast<size_t>((n * in.channels + c) * to.positions + p)] +=
            t.weight * x[static_cast<size_t>((n * in.channels + c) * in.positions + t.index)];
  }
  return Tensors{tensor_from(types[0].dtype, dims, out)};
}

Result<Types> AffineGrid::infer(const InferArgs& args) const {
  const TensorType& theta = args.type(0);
  if (!is_float(theta.dtype)) return invalid("an affine grid of {}", name(theta.dtype));
  if (theta.shape.ranked && theta.shape.rank() != 3) return invalid("theta is {}", to_text(theta));
  const Dim batch = theta.shape.ranked ? theta.shape.dims[0] : Dim(),
            rows = theta.shape.ranked ? theta.shape.dims[1] : Dim();
  const Tensor& size = args.value(1);
  if (!size.defined()) {
    if (!rows.known()) return Types{{theta.dtype, Shape::unranked()}};
    if (rows.value < 1 || rows.value > 16) return invalid("theta is {}", to_text(theta));
    Shape shape(std::vector<Dim>(static_cast<size_t>(rows.value) + 2));
    shape.dims[0] = batch;
    shape.dims.back() = rows;
    return Types{{theta.dtype, shape}};
  }
  const Dims dims = size.to_ints();
  const int64_t rank = static_cast<int64_t>(dims.size()) - 2;
  const Dim columns = theta.shape.ranked ? theta.shape.dims[2] : Dim();
  if (rank < 1 || (rows.known() && rows.value != rank) || (columns.known() && columns.value != rank + 1) ||
      (batch.known() && batch.value != dims[0]))
    return invalid("theta {} does not fit size {}", to_text(theta), to_string(dims));
  Dims out{dims[0]};
  out.insert(out.end(), dims.begin() + 2, dims.end());
  out.push_back(rank);
  HONE_CHECK(checked_bytes(DType::f64, out));
  return Types{{theta.dtype, Shape::of(out)}};
}

Result<Tensors> AffineGrid::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, args.inputs, 1}));
  const Dims dims = *types[0].shape.concrete();
  const auto theta = numbers_of<double>(args[0]);
  const Dims spatial(dims.begin() + 1, dims.end() - 1);
  const size_t rank = spatial.size();
  std::vector<double> out;
  if (element_count(dims) == 0) return Tensors{Tensor(types[0].dtype, dims)};
  for (int64_t n = 0; n < dims[0]; ++n) {
    Dims at(rank, 0);
    do {
      for (size_t r = 0; r < rank; ++r) {
        const double* row = theta.data() + (static_cast<size_t>(n) * rank + r) * (rank + 1);
        double sum = row[rank];
        for (size_t c = 0; c < rank; ++c)
          sum += row[c] * normalised(at[rank - 1 - c], spatial[rank - 1 - c], align_corners);
        out.push_back(sum);
      }
    } while (next_index(at, spatial));
  }
  return Tensors{tensor_from(types[0].dtype, dims, out)};
}

std::span<const OpRow> sample_ops() {
  static constexpr OpRow kRows[] = {op_row<GridSample>(), op_row<AffineGrid>()};
  return kRows;
}

}  // namespace hone
