#include "ops/norm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/counted.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

// `axis` counted from the front; an error when it is not in [0, limit).
Result<size_t> resolve_axis(int64_t axis, int64_t rank, int64_t limit) {
  const int64_t resolved = axis < 0 ? axis + rank : axis;
  if (resolved < 0 || resolved >= limit) return invalid("axis {} is out of range for rank {}", axis, rank);
  return static_cast<size_t>(resolved);
}

Status check_real(const InferArgs& args, const char* what) {
  const DType type = args.type(0).dtype;
  if (!is_float(type)) return invalid("{} of {}", what, name(type));
  for (size_t i = 1; i < args.types.size(); ++i)
    if (args.has(i) && args.type(i).dtype != type)
      return invalid("input {} is {}, expected {}", i, name(args.type(i).dtype), name(type));
  return {};
}

struct Moments {
  double mean = 0, scale = 0;  // scale: 1 / sqrt(variance + epsilon)
};

// Of `count` elements that get(i) gives; about zero instead of the mean when rms.
Moments moments(int64_t count, double epsilon, bool rms, auto&& get) {
  Moments m;
  double sum = 0;
  for (int64_t i = 0; i < count && !rms; ++i) sum += get(i);
  if (!rms && count > 0) m.mean = sum / static_cast<double>(count);
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double d = get(i) - m.mean;
    squares += d * d;
  }
  m.scale = 1 / std::sqrt(squares / static_cast<double>(std::max<int64_t>(count, 1)) + epsilon);
  return m;
}

// For each element of `dims`, the flat index of the element of `own` that broadcasts to it.
std::vector<int64_t> broadcast_offsets(const Dims& own, const Dims& dims) {
  const Dims strides = strides_of(own);
  const size_t shift = dims.size() - own.size();
  std::vector<int64_t> offsets(static_cast<size_t>(element_count(dims)));
  for (size_t i = 0; i < offsets.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i);
    for (size_t d = dims.size(); d-- > 0;) {
      const int64_t at = rest % dims[d];
      rest /= dims[d];
      if (d >= shift && own[d - shift] != 1) offsets[i] += at * strides[d - shift];
    }
  }
  return offsets;
}

// values[i] *= scale, then += bias, each broadcast.
void scale_and_shift(std::vector<double>& values, const Dims& dims, const Tensor& scale, const Tensor& bias) {
  for (const Tensor* t : {&scale, &bias}) {
    if (!t->defined()) continue;
    const auto factor = numbers_of<double>(*t);
    const auto offsets = broadcast_offsets(t->dims(), dims);
    for (size_t i = 0; i < values.size(); ++i) {
      const double f = factor[static_cast<size_t>(offsets[i])];
      values[i] = t == &scale ? values[i] * f : values[i] + f;
    }
  }
}

void softmax_line(double* x, int64_t count, int64_t stride, bool log) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t i = 0; i < count; ++i) top = std::max(top, x[i * stride]);
  for (int64_t i = 0; i < count; ++i) sum += std::exp(x[i * stride] - top);
  for (int64_t i = 0; i < count; ++i) {
    double& v = x[i * stride];
    v = log ? v - top - std::log(sum) : std::exp(v - top) / sum;
  }
}

}  // namespace

Result<Types> Softmax::infer(const InferArgs& args) const {
  HONE_CHECK(check_real(args, "softmax"));
  const Shape& shape = args.type(0).shape;
  if (shape.ranked) HONE_CHECK(resolve_axis(axis, shape.rank(), shape.rank()));
  return Types{args.type(0)};
}

Result<Tensors> Softmax::evaluate(const EvalArgs& args) const {
  const Dims& dims = args[0].dims();
  HONE_TRY(const size_t at, resolve_axis(axis, args[0].rank(), args[0].rank()));
  auto values = numbers_of<double>(args[0]);
  const int64_t count = dims[at], inner = strides_of(dims)[at];
  if (!values.empty())
    for (int64_t outer = 0; outer < args[0].count() / (count * inner); ++outer)
      for (int64_t i = 0; i < inner; ++i) softmax_line(values.data() + outer * count * inner + i, count, inner, log);
  return Tensors{tensor_from(args[0].type(), dims, values)};
}

Result<Types> LayerNorm::infer(const InferArgs& args) const {
  HONE_CHECK(check_real(args, "layer norm"));
  const size_t most = rms ? 2 : 3;
  if (args.outputs > most)
    return invalid("the node has {}, at most {} are there", counted(args.outputs, "output"), most);
  const Shape& shape = args.type(0).shape;
  Types types{args.type(0)};
  if (!shape.ranked) {
    while (types.size() < args.outputs) types.push_back({DType::f32, Shape::unranked()});
    return types;
  }
  // axis = rank is an empty norm; ONNX forbids it.
  HONE_TRY(const size_t from, resolve_axis(axis, shape.rank(), shape.rank()));
  for (size_t i = 1; i < 3; ++i) {
    if (!args.has(i)) continue;
    HONE_TRY(const Shape joined, broadcast(shape, args.type(i).shape));
    if (joined.ranked && joined.dims.size() != shape.dims.size())
      return invalid("input {} is {}, which does not broadcast to {}", i, to_text(args.type(i)), to_text(args.type(0)));
    for (size_t d = 0; d < joined.dims.size(); ++d)
      if (joined.dims[d].known() && shape.dims[d].known() && joined.dims[d] != shape.dims[d])
        return invalid("input {} is {}, which does not broadcast to {}", i, to_text(args.type(i)),
                       to_text(args.type(0)));
  }
  Shape reduced = shape;
  std::fill(reduced.dims.begin() + static_cast<int64_t>(from), reduced.dims.end(), Dim(1));
  while (types.size() < args.outputs) types.push_back({DType::f32, reduced});
  return types;
}

Result<Tensors> LayerNorm::evaluate(const EvalArgs& args) const {
  const Dims& dims = args[0].dims();
  HONE_TRY(const size_t from, resolve_axis(axis, args[0].rank(), args[0].rank()));
  Dims outer(dims);
  std::fill(outer.begin() + static_cast<int64_t>(from), outer.end(), 1);
  const int64_t rows = element_count(outer);
  const int64_t count = element_count(std::span(dims).subspan(from));
  auto values = numbers_of<double>(args[0]);
  std::vector<double> means, scales;
  for (int64_t r = 0; r < rows; ++r) {
    double* row = values.data() + r * count;
    const Moments m = moments(count, epsilon, rms, [&](int64_t i) { return row[i]; });
    for (int64_t i = 0; i < count; ++i) row[i] = (row[i] - m.mean) * m.scale;
    means.push_back(m.mean);
    scales.push_back(m.scale);
  }
  scale_and_shift(values, dims, args[1], args[2]);
  Tensors out{tensor_from(args[0].type(), dims, values)};
  if (!rms && args.outputs > 1) out.push_back(tensor_from(DType::f32, outer, means));
  if (out.size() < args.outputs) out.push_back(tensor_from(DType::f32, outer, scales));
  return out;
}

Result<Types> GroupNorm::infer(const InferArgs& args) const {
  HONE_CHECK(check_real(args, "group norm"));
  const Shape& shape = args.type(0).shape;
  if (groups < 0) return invalid("groups is {}", groups);
  if (!shape.ranked) return Types{args.type(0)};
  if (shape.rank() < 2) return invalid("group norm of {} needs [N, C, ...]", to_text(args.type(0)));
  const Dim channels = shape.dims[channels_last ? shape.dims.size() - 1 : 1];
  if (channels.known() && groups > 0 && channels.value % groups != 0)
    return invalid("{} do not divide into {}", counted(channels.value, "channel"), counted(groups, "group"));
  for (size_t i = 1; i < 3; ++i) {
    if (!args.has(i) || !args.type(i).shape.ranked) continue;
    const auto& own = args.type(i).shape.dims;
    if (own.size() != 1 || (own[0].known() && channels.known() && own[0] != channels))
      return invalid("input {} is {}, expected one value for each of {}", i, to_text(args.type(i)),
                     counted(channels.value, "channel"));
  }
  return Types{args.type(0)};
}

Result<Tensors> GroupNorm::evaluate(const EvalArgs& args) const {
  const Dims& dims = args[0].dims();
  const int64_t batch = dims[0], channels = channels_last ? dims.back() : dims[1];
  auto values = numbers_of<double>(args[0]);
  if (values.empty()) return Tensors{args[0]};
  const int64_t positions = args[0].count() / (batch * channels);
  const int64_t each = groups > 0 ? channels / groups : 1;  // channels of a group
  const auto scale = args.has(1) ? numbers_of<double>(args[1]) : std::vector<double>(static_cast<size_t>(channels), 1);
  const auto bias = args.has(2) ? numbers_of<double>(args[2]) : std::vector<double>(static_cast<size_t>(channels));
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t first = 0; first < channels; first += each) {
      const auto at = [&](int64_t i) -> double& {
        const int64_t c = first + i / positions, p = i % positions;
        return values[static_cast<size_t>(n * channels * positions +
                                          (channels_last ? p * channels + c : c * positions + p))];
      };
      const Moments m = moments(each * positions, epsilon, false, at);
      for (int64_t i = 0; i < each * positions; ++i) {
        const size_t c = static_cast<size_t>(first + i / positions);
        at(i) = (at(i) - m.mean) * m.scale * scale[c] + bias[c];
      }
    }
  }
  return Tensors{tensor_from(args[0].type(), dims, values)};
}

std::span<const OpRow> norm_ops() {
  static constexpr OpRow kRows[] = {op_row<Softmax>(), op_row<LayerNorm>(), op_row<GroupNorm>()};
  return kRows;
}

}  // namespace hone
