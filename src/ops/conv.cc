#include "ops/conv.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"
#include "ops/window.h"

namespace hone {
namespace {

constexpr int64_t kBlock = 128;  // positions computed at once

// Checks dtypes and ranks; an unranked x takes the rank of the attributes. `sum` is the type of the result.
Result<Shape> ranked_input(const InferArgs& args, size_t spatial, DType sum) {
  const TensorType& x = args.type(0);
  const TensorType& w = args.type(1);
  if (!x.defined() || !w.defined()) return invalid("a convolution needs an input and a filter");
  if (!is_numeric(x.dtype)) return invalid("{} has no convolution", name(x.dtype));
  if (sum == x.dtype && w.dtype != x.dtype) return invalid("input 1 is {}, expected {}", name(w.dtype), name(x.dtype));
  if (args.has(2) && args.type(2).dtype != x.dtype)
    return invalid("input 2 is {}, expected {}", name(args.type(2).dtype), name(x.dtype));
  if (args.has(2) && sum != x.dtype) return invalid("a convolution of {} has no bias", name(x.dtype));
  for (size_t i = 0; i < 2; ++i)
    if (args.type(i).shape.ranked && args.type(i).shape.dims.size() != spatial + 2)
      return invalid("input {} has rank {}, the attributes are for rank {}", i, args.type(i).shape.rank(), spatial + 2);
  return x.shape.ranked ? x.shape : Shape(std::vector<Dim>(spatial + 2));
}

// The kernel dims of the filter, 1 standing for unknown ones; false when some are unknown.
bool kernel_of(const TensorType& w, size_t spatial, std::vector<int64_t>& kernel) {
  kernel.assign(spatial, 1);
  bool known = w.shape.ranked;
  for (size_t i = 0; i < spatial && w.shape.ranked; ++i) {
    known &= w.shape.dims[i + 2].known();
    kernel[i] = w.shape.dims[i + 2].known() ? w.shape.dims[i + 2].value : 1;
  }
  return known;
}

Dim filter_dim(const TensorType& w, size_t i) { return w.shape.ranked ? w.shape.dims[i] : Dim(); }

Status check_bias(const InferArgs& args, const Dim& channels) {
  if (!args.has(2) || !args.type(2).shape.ranked) return {};
  const auto& dims = args.type(2).shape.dims;
  if (dims.size() != 1 || (dims[0].known() && channels.known() && dims[0] != channels))
    return invalid("bias is {}, expected one value for each of {}", to_text(args.type(2)),
                   counted(channels.value, "channel"));
  return {};
}

// Both convolutions as one evaluation: what geometry they share.
struct Geometry {
  std::vector<Window> windows;
  Activation x, out;
  int64_t groups, in_channels, out_channels;  // channels of one group
  int64_t taps;

  Geometry(std::vector<Window> windows, const Dims& x_dims, const Dims& out_dims, int64_t groups, bool channels_last)
      : windows(std::move(windows)),
        x(x_dims, channels_last),
        out(out_dims, channels_last),
        groups(groups),
        in_channels(x.channels / groups),
        out_channels(out.channels / groups),
        taps(1) {
    for (const Window& w : this->windows) taps *= w.kernel;
  }
};

// columns[(channel, tap)][position]: the elements of x under the window at `count` positions from `at` on.
template <class T>
void unfold(const Geometry& g, const T* x, Dims& at, int64_t count, std::vector<T>& columns) {
  columns.assign(static_cast<size_t>(g.in_channels * g.taps * count), T(0));
  std::vector<int64_t> taps;
  for (int64_t p = 0; p < count; ++p) {
    window_taps(g.windows, g.x.spatial, at, taps);
    for (int64_t c = 0; c < g.in_channels; ++c)
      for (int64_t t = 0; t < g.taps; ++t)
        if (taps[t] >= 0)
          columns[(c * g.taps + t) * count + p] = x[c * g.x.channel_stride + taps[t] * g.x.spatial_stride];
    next_index(at, g.out.spatial);
  }
}

template <class T>
std::vector<T> convolve(const Geometry& g, const Tensor& x_tensor, const Tensor& w_tensor, const Tensor& bias_tensor) {
  const auto x = numbers_of<T>(x_tensor), w = numbers_of<T>(w_tensor);
  const auto bias =
      bias_tensor.defined() ? numbers_of<T>(bias_tensor) : std::vector<T>(static_cast<size_t>(g.out.channels));
  std::vector<T> out(static_cast<size_t>(g.out.batch * g.out.batch_stride)), columns, sums;
  const int64_t depth = g.in_channels * g.taps;
  for (int64_t n = 0; n < g.out.batch; ++n) {
    for (int64_t group = 0; group < g.groups; ++group) {
      const int64_t channel = group * g.out_channels;
      Dims at(g.out.spatial.size(), 0);
      for (int64_t from = 0; from < g.out.positions; from += kBlock) {
        const int64_t count = std::min(kBlock, g.out.positions - from);
        unfold(g, x.data() + n * g.x.batch_stride + group * g.in_channels * g.x.channel_stride, at, count, columns);
        sums.resize(static_cast<size_t>(g.out_channels * count));
        for (int64_t c = 0; c < g.out_channels; ++c)
          std::fill_n(sums.begin() + c * count, count, bias[static_cast<size_t>(channel + c)]);
        multiply_add(w.data() + channel * depth, columns.data(), sums.data(), g.out_channels, depth, count);
        T* to = out.data() + n * g.out.batch_stride + channel * g.out.channel_stride + from * g.out.spatial_stride;
        for (int64_t c = 0; c < g.out_channels; ++c)
          for (int64_t p = 0; p < count; ++p)
            to[c * g.out.channel_stride + p * g.out.spatial_stride] = sums[static_cast<size_t>(c * count + p)];
      }
    }
  }
  return out;
}

// Adds columns[(channel, tap)][position] to where the window at each position of x falls in `out`.
template <class T>
void fold_back(const Geometry& g, const std::vector<T>& columns, T* out) {
  Dims at(g.x.spatial.size(), 0);
  std::vector<int64_t> taps;
  for (int64_t p = 0; p < g.x.positions; ++p) {
    window_taps(g.windows, g.out.spatial, at, taps);
    for (int64_t c = 0; c < g.out_channels; ++c) {
      for (int64_t t = 0; t < g.taps; ++t) {
        if (taps[t] < 0) continue;
        T& to = out[c * g.out.channel_stride + taps[t] * g.out.spatial_stride];
        to = add_wrapping(to, columns[static_cast<size_t>((c * g.taps + t) * g.x.positions + p)]);
      }
    }
    next_index(at, g.x.spatial);
  }
}

template <class T>
std::vector<T> transposed(const Geometry& g, const Tensor& x_tensor, const Tensor& w_tensor,
                          const Tensor& bias_tensor) {
  const auto x = numbers_of<T>(x_tensor), w = numbers_of<T>(w_tensor);
  std::vector<T> out(static_cast<size_t>(g.out.batch * g.out.batch_stride));
  if (bias_tensor.defined()) {
    const auto bias = numbers_of<T>(bias_tensor);
    for (int64_t n = 0; n < g.out.batch; ++n)
      for (int64_t c = 0; c < g.out.channels; ++c)
        for (int64_t p = 0; p < g.out.positions; ++p)
          out[n * g.out.batch_stride + c * g.out.channel_stride + p * g.out.spatial_stride] =
              bias[static_cast<size_t>(c)];
  }
  const int64_t height = g.out_channels * g.taps;
  std::vector<T> filter(static_cast<size_t>(height * g.in_channels)),
      input(static_cast<size_t>(g.in_channels * g.x.positions));
  std::vector<T> columns;
  for (int64_t group = 0; group < g.groups; ++group) {
    for (int64_t c = 0; c < g.in_channels; ++c)
      for (int64_t i = 0; i < height; ++i) filter[i * g.in_channels + c] = w[(group * g.in_channels + c) * height + i];
    for (int64_t n = 0; n < g.out.batch; ++n) {
      const T* from = x.data() + n * g.x.batch_stride + group * g.in_channels * g.x.channel_stride;
      for (int64_t c = 0; c < g.in_channels; ++c)
        for (int64_t p = 0; p < g.x.positions; ++p)
          input[c * g.x.positions + p] = from[c * g.x.channel_stride + p * g.x.spatial_stride];
      columns.assign(static_cast<size_t>(height * g.x.positions), T(0));
      multiply_add(filter.data(), input.data(), columns.data(), height, g.in_channels, g.x.positions);
      fold_back(g, columns, out.data() + n * g.out.batch_stride + group * g.out_channels * g.out.channel_stride);
    }
  }
  return out;
}

// The output dims of a node whose inputs are at hand.
Result<Dims> output_dims(const auto& op, const EvalArgs& args) {
  const Types types = types_of(args);
  HONE_TRY(Types out, op.infer({types, {}, args.outputs}));
  HONE_CHECK(checked_bytes(out[0].dtype, *out[0].shape.concrete()));
  return *out[0].shape.concrete();
}

std::vector<int64_t> kernel_dims(const Tensor& w) { return {w.dims().begin() + 2, w.dims().end()}; }

}  // namespace

Result<Types> Conv::infer(const InferArgs& args) const {
  const ActivationLayout layout{strides.size(), channels_last};
  const DType sum = sum_type(args.type(0).dtype, args.type(1).dtype);
  HONE_TRY(Shape shape, ranked_input(args, layout.spatial, sum));
  if (groups < 1) return invalid("groups is {}", groups);
  const Dim in = shape.dims[layout.channel_axis()], out = filter_dim(args.type(1), 0),
            depth = filter_dim(args.type(1), 1);
  if (in.known() && depth.known() && (in.value % groups != 0 || in.value / groups != depth.value))
    return invalid("{} input channels in {} do not fit filter {}", in.value, counted(groups, "group"),
                   to_text(args.type(1)));
  if (out.known() && out.value % groups != 0)
    return invalid("{} output channels do not divide into {}", out.value, counted(groups, "group"));
  HONE_CHECK(check_bias(args, out));
  std::vector<int64_t> kernel;
  const bool known = kernel_of(args.type(1), layout.spatial, kernel);
  HONE_TRY(const auto geometry, windows(kernel, strides, dilations, pads));
  for (size_t i = 0; i < layout.spatial; ++i) {
    Dim& dim = shape.dims[layout.spatial_axis(i)];
    if (known) {
      HONE_TRY(dim, window_positions(dim, geometry[i]));
    } else {
      dim = Dim();
    }
  }
  shape.dims[layout.channel_axis()] = out;
  return Types{{sum, shape}};
}

Result<Tensors> Conv::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Dims dims, output_dims(*this, args));
  HONE_TRY(auto w, windows(kernel_dims(args[1]), strides, dilations, pads));
  const Geometry geometry(std::move(w), args[0].dims(), dims, groups, channels_last);
  const DType type = sum_type(args[0].type(), args[1].type());
  return with_number(type, [&](auto zero) {
    return Tensors{tensor_from(type, dims, convolve<decltype(zero)>(geometry, args[0], args[1], args[2]))};
  });
}

Result<Types> ConvTranspose::infer(const InferArgs& args) const {
  const ActivationLayout layout{strides.size(), channels_last};
  HONE_TRY(Shape shape, ranked_input(args, layout.spatial, args.type(0).dtype));
  if (groups < 1) return invalid("groups is {}", groups);
  if (output_padding.size() != layout.spatial)
    return invalid("output_padding has {} for {}", counted(output_padding.size(), "entry", "entries"),
                   counted(layout.spatial, "spatial dim"));
  const Dim in = shape.dims[layout.channel_axis()], from = filter_dim(args.type(1), 0),
            each = filter_dim(args.type(1), 1);
  if (in.known() && from.known() && in != from)
    return invalid("{} input channels do not fit filter {}", in.value, to_text(args.type(1)));
  for (const Dim& channels : {in, from})
    if (channels.known() && channels.value % groups != 0)
      return invalid("{} input channels do not divide into {}", channels.value, counted(groups, "group"));
  if (each.known() && each.value > (int64_t{1} << 31)) return invalid("filter {} is too large", to_text(args.type(1)));
  if (groups > (int64_t{1} << 31)) return invalid("groups is {}", groups);
  const Dim out = each.known() ? Dim(each.value * groups) : groups == 1 ? each : Dim();
  HONE_CHECK(check_bias(args, out));
  std::vector<int64_t> kernel;
  const bool known = kernel_of(args.type(1), layout.spatial, kernel);
  HONE_TRY(const auto geometry, windows(kernel, strides, dilations, pads));
  for (size_t i = 0; i < layout.spatial; ++i) {
    if (output_padding[i] < 0 || output_padding[i] > (int64_t{1} << 30))
      return invalid("output_padding is {}", output_padding[i]);
    Dim& dim = shape.dims[layout.spatial_axis(i)];
    if (known) {
      HONE_TRY(dim, transposed_positions(dim, geometry[i], output_padding[i]));
    } else {
      dim = Dim();
    }
  }
  shape.dims[layout.channel_axis()] = out;
  return Types{{args.type(0).dtype, shape}};
}

Result<Tensors> ConvTranspose::evaluate(const EvalArgs& args) const {
  HONE_TRY(const Dims dims, output_dims(*this, args));
  HONE_TRY(auto w, windows(kernel_dims(args[1]), strides, dilations, pads));
  const Geometry geometry(std::move(w), args[0].dims(), dims, groups, channels_last);
  const DType type = args[0].type();
  return with_number(type, [&](auto zero) {
    return Tensors{tensor_from(type, dims, transposed<decltype(zero)>(geometry, args[0], args[1], args[2]))};
  });
}

std::span<const OpRow> conv_ops() {
  static constexpr OpRow kRows[] = {op_row<Conv>(), op_row<ConvTranspose>()};
  return kRows;
}

}  // namespace hone
