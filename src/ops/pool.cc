#include "ops/pool.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"
#include "ops/window.h"

namespace hone {
namespace {

bool is_nan(double v) { return std::isnan(v); }
bool is_nan(int64_t) { return false; }

// The smallest value of a type: what the maximum over no elements is.
double lowest(DType, double) { return -std::numeric_limits<double>::infinity(); }
int64_t lowest(DType type, int64_t) {
  return is_signed(type) && size_of(type) > 0 ? -(int64_t{1} << (8 * size_of(type) - 1)) : 0;
}

// The row-major spatial index `at` counted with the first spatial dim fastest.
int64_t to_column_major(int64_t at, std::span<const int64_t> dims) {
  int64_t out = 0;
  for (size_t d = dims.size(); d-- > 0;) {
    int64_t stride = 1;
    for (size_t i = 0; i < d; ++i) stride *= dims[i];
    out += at % dims[d] * stride;
    at /= dims[d];
  }
  return out;
}

// How many taps of the window at `at` lie within the input and its padding.
int64_t taps_in_padded(std::span<const Window> windows, std::span<const int64_t> in, const Dims& at) {
  int64_t count = 1;
  for (size_t d = 0; d < windows.size(); ++d) {
    const Window& w = windows[d];
    const int64_t room = in[d] + w.pad_begin + w.pad_end - at[d] * w.stride;
    count *= std::clamp<int64_t>((room + w.dilation - 1) / w.dilation, 0, w.kernel);
  }
  return count;
}

// Calls body(output offset, input offset of the channel, taps, channel index, position) for every output element.
void for_each_window(const Activation& x, const Activation& out, std::span<const Window> windows, auto&& body) {
  if (out.positions == 0) return;
  Dims at(out.spatial.size(), 0);
  std::vector<int64_t> taps;
  int64_t position = 0;
  do {
    window_taps(windows, x.spatial, at, taps);
    for (int64_t n = 0; n < x.batch; ++n)
      for (int64_t c = 0; c < x.channels; ++c)
        body(n * out.batch_stride + c * out.channel_stride + position * out.spatial_stride,
             n * x.batch_stride + c * x.channel_stride, taps, n * x.channels + c, at);
    ++position;
  } while (next_index(at, out.spatial));
}

template <class T>
Tensors max_pool(const Pool& op, const Tensor& input, const Dims& dims, std::span<const Window> windows, bool indices) {
  const Activation x(input.dims(), op.channels_last), out(dims, op.channels_last);
  const auto values = numbers_of<T>(input);
  std::vector<T> best(static_cast<size_t>(element_count(dims)));
  std::vector<int64_t> where(best.size(), -1);
  for_each_window(x, out, windows, [&](int64_t to, int64_t from, const auto& taps, int64_t channel, const Dims&) {
    T top = lowest(input.type(), T{});
    int64_t top_tap = -1;
    for (int64_t tap : taps) {
      if (tap < 0) continue;
      const T v = values[static_cast<size_t>(from + tap * x.spatial_stride)];
      if (top_tap >= 0 && !(v > top) && !(is_nan(v) && !is_nan(top))) continue;
      top = v;
      top_tap = tap;
    }
    best[static_cast<size_t>(to)] = top;
    if (top_tap >= 0)
      where[static_cast<size_t>(to)] =
          channel * x.positions + (op.column_major ? to_column_major(top_tap, x.spatial) : top_tap);
  });
  Tensors results{tensor_from(input.type(), dims, best)};
  if (indices) results.push_back(tensor_from(DType::i64, dims, where));
  return results;
}

Tensor sum_pool(const Pool& op, const Tensor& input, const Dims& dims, std::span<const Window> windows) {
  const Activation x(input.dims(), op.channels_last), out(dims, op.channels_last);
  const auto values = numbers_of<double>(input);
  const double p = static_cast<double>(op.p);
  std::vector<double> result(static_cast<size_t>(element_count(dims)));
  for_each_window(x, out, windows, [&](int64_t to, int64_t from, const auto& taps, int64_t, const Dims& at) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t tap : taps) {
      if (tap < 0) continue;
      const double v = values[static_cast<size_t>(from + tap * x.spatial_stride)];
      sum += op.kind == "lp" ? std::pow(std::abs(v), p) : v;
      ++count;
    }
    if (op.count_include_pad) count = taps_in_padded(windows, x.spatial, at);
    result[static_cast<size_t>(to)] = op.kind == "lp" ? std::pow(sum, 1 / p)
                                      : count > 0     ? sum / static_cast<double>(count)
                                                      : 0;
  });
  return tensor_from(input.type(), dims, result);
}

}  // namespace

Result<Types> Pool::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  if (!is_numeric(x.dtype)) return invalid("{} has no pooling", name(x.dtype));
  if (kind != "max" && kind != "average" && kind != "lp") return invalid("there is no pooling '{}'", kind);
  if (kind != "max" && !is_float(x.dtype)) return invalid("{} pooling of {}", kind, name(x.dtype));
  if (kind == "lp" && p < 1) return invalid("p is {}", p);
  if (args.outputs > (kind == "max" ? 2u : 1u)) return invalid("{} pooling has no output {}", kind, args.outputs - 1);
  HONE_TRY(const auto geometry, windows(kernel, strides, dilations, pads));
  const ActivationLayout layout{kernel.size(), channels_last};
  Shape shape = x.shape.ranked ? x.shape : Shape(std::vector<Dim>(layout.rank()));
  if (shape.dims.size() != layout.rank())
    return invalid("the input has rank {}, the attributes are for rank {}", shape.dims.size(), layout.rank());
  for (size_t i = 0; i < layout.spatial; ++i) {
    Dim& dim = shape.dims[layout.spatial_axis(i)];
    HONE_TRY(dim, window_positions(dim, geometry[i], ceil_mode));
  }
  Types types{{x.dtype, shape}};
  if (args.outputs > 1) types.push_back({DType::i64, shape});
  return types;
}

Result<Tensors> Pool::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Types types, infer({types_of(args), {}, args.outputs}));
  const Dims dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::i64, dims));
  HONE_TRY(const auto geometry, windows(kernel, strides, dilations, pads));
  if (kind != "max") return Tensors{sum_pool(*this, args[0], dims, geometry)};
  return with_number(args[0].type(), [&](auto zero) {
    return max_pool<decltype(zero)>(*this, args[0], dims, geometry, args.outputs > 1);
  });
}

std::span<const OpRow> pool_ops() {
  static constexpr OpRow kRows[] = {op_row<Pool>()};
  return kRows;
}

}  // namespace hone
