#include "ops/deform_conv.h"

#include <algorithm>

#include "ops/conv.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/sample.h"
#include "ops/table.h"
#include "ops/window.h"

namespace hone {
namespace {

// Dims of an offset-like input must be [N, rows, out...].
Status check_field(const InferArgs& args, size_t i, const Shape& out, const Dim& rows) {
  if (!args.has(i) || !args.type(i).shape.ranked) return {};
  const auto& dims = args.type(i).shape.dims;
  bool fits = dims.size() == out.dims.size();
  for (size_t d = 0; fits && d < dims.size(); ++d) {
    const Dim& expected = d == 1 ? rows : out.dims[d];
    fits = !dims[d].known() || !expected.known() || dims[d] == expected;
  }
  if (!fits)
    return invalid("input {} is {}, which does not fit the output {}", i, to_text(args.type(i)),
                   to_text({DType::f32, out}));
  return {};
}

struct Setting {
  std::vector<Window> windows;
  Activation x, out;
  int64_t taps = 1, offset_groups;
};

// columns[(channel, tap)][position] of image n.
std::vector<double> deformed_columns(const Setting& s, int64_t n, const std::vector<double>& x,
                                     const std::vector<double>& offsets, const std::vector<double>& mask) {
  const int64_t rank = static_cast<int64_t>(s.windows.size()), positions = s.out.positions,
                each = s.x.channels / s.offset_groups;
  std::vector<double> columns(static_cast<size_t>(s.x.channels * s.taps * positions));
  std::vector<std::vector<Tap>> axes(s.windows.size());
  std::vector<Tap> around;
  Dims kernel;
  for (const Window& w : s.windows) kernel.push_back(w.kernel);
  Dims at(s.out.spatial.size(), 0);
  for (int64_t p = 0; p < positions; ++p, next_index(at, s.out.spatial)) {
    for (int64_t g = 0; g < s.offset_groups; ++g) {
      Dims tap(kernel.size(), 0);
      for (int64_t t = 0; t < s.taps; ++t, next_index(tap, kernel)) {
        const int64_t row = (n * s.offset_groups + g) * s.taps + t;
        for (int64_t d = 0; d < rank; ++d) {
          const Window& w = s.windows[static_cast<size_t>(d)];
          const auto start =
              at[static_cast<size_t>(d)] * w.stride - w.pad_begin + tap[static_cast<size_t>(d)] * w.dilation;
          linear_taps(static_cast<double>(start) + offsets[static_cast<size_t>((row * rank + d) * positions + p)],
                      s.x.spatial[static_cast<size_t>(d)], axes[static_cast<size_t>(d)]);
        }
        combine_taps(axes, s.x.spatial, around);
        const double factor = mask.empty() ? 1 : mask[static_cast<size_t>(row * positions + p)];
        for (int64_t c = g * each; c < (g + 1) * each; ++c) {
          double sum = 0;
          for (const Tap& a : around)
            sum += a.weight * x[static_cast<size_t>((n * s.x.channels + c) * s.x.positions + a.index)];
          columns[static_cast<size_t>((c * s.taps + t) * positions + p)] = sum * factor;
        }
      }
    }
  }
  return columns;
}

}  // namespace

// The plain convolution knows the rest of the shape rules.
Result<Types> DeformConv::infer(const InferArgs& args) const {
  const Conv plain{.strides = strides, .dilations = dilations, .pads = pads, .groups = groups};
  if (!is_float(args.type(0).dtype)) return invalid("a deformable convolution of {}", name(args.type(0).dtype));
  for (size_t i = 1; i < 5; ++i)
    if (args.has(i) && args.type(i).dtype != args.type(0).dtype)
      return invalid("input {} is {}, expected {}", i, name(args.type(i).dtype), name(args.type(0).dtype));
  if (!args.has(2)) return invalid("the offsets are missing");
  const Types inputs{args.type(0), args.type(1), args.type(3)};
  HONE_TRY(const Types types, plain.infer({inputs, {}, 1}));
  const TensorType &x = args.type(0), &w = args.type(1);
  if (offset_groups < 1 || (x.shape.ranked && x.shape.dims[1].known() && x.shape.dims[1].value % offset_groups != 0))
    return invalid("the channels of {} do not divide into {} offset groups", to_text(x), offset_groups);
  Dim rows(offset_groups);
  for (size_t i = 2; i < 2 + strides.size(); ++i)
    rows = w.shape.ranked && w.shape.dims[i].known() && rows.known() ? Dim(rows.value * w.shape.dims[i].value) : Dim();
  HONE_CHECK(check_field(args, 4, types[0].shape, rows));
  if (rows.known()) rows.value *= static_cast<int64_t>(strides.size());
  HONE_CHECK(check_field(args, 2, types[0].shape, rows));
  return types;
}

Result<Tensors> DeformConv::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, 1}));
  const Dims dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, dims));
  const std::vector<int64_t> kernel(args[1].dims().begin() + 2, args[1].dims().end());
  HONE_TRY(auto w, windows(kernel, strides, dilations, pads));
  const Setting s{std::move(w), Activation(args[0].dims(), false), Activation(dims, false), element_count(kernel),
                  offset_groups};
  const auto x = numbers_of<double>(args[0]), filter = numbers_of<double>(args[1]),
             offsets = numbers_of<double>(args[2]);
  const auto bias =
      args.has(3) ? numbers_of<double>(args[3]) : std::vector<double>(static_cast<size_t>(s.out.channels));
  const auto mask = args.has(4) ? numbers_of<double>(args[4]) : std::vector<double>();
  std::vector<double> out(static_cast<size_t>(element_count(dims)));
  const int64_t positions = s.out.positions, rows = s.out.channels / groups, depth = s.x.channels / groups * s.taps;
  for (int64_t n = 0; n < s.out.batch; ++n) {
    const auto columns = deformed_columns(s, n, x, offsets, mask);
    double* to = out.data() + n * s.out.batch_stride;
    for (int64_t c = 0; c < s.out.channels; ++c)
      std::fill_n(to + c * positions, positions, bias[static_cast<size_t>(c)]);
    for (int64_t g = 0; g < groups; ++g)
      multiply_add(filter.data() + g * rows * depth, columns.data() + g * depth * positions, to + g * rows * positions,
                   rows, depth, positions);
  }
  return Tensors{tensor_from(types[0].dtype, dims, out)};
}

std::span<const OpRow> deform_conv_ops() {
  static constexpr OpRow kRows[] = {op_row<DeformConv>()};
  return kRows;
}

}  // namespace hone
