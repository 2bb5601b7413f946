#include "ops/generate.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

Status check_scalar(const Tensor& t, std::string_view what) {
  return t.count() == 1 ? Status() : invalid("{} has {}, not one", what, counted(t.count(), "element"));
}

// ceil((limit - start) / delta), without the overflow of its parts.
Result<int64_t> range_count(const Tensor& start, const Tensor& limit, const Tensor& delta) {
  HONE_CHECK(check_scalar(start, "start"));
  HONE_CHECK(check_scalar(limit, "limit"));
  HONE_CHECK(check_scalar(delta, "delta"));
  if (is_float(start.type())) {
    const double count = std::ceil((limit.at(0) - start.at(0)) / delta.at(0));
    if (!(count < 9e15)) return invalid("range from {} to {} by {} has no end", start.at(0), limit.at(0), delta.at(0));
    return static_cast<int64_t>(std::max(count, 0.0));
  }
  const int64_t step = delta.int_at(0);
  if (step == 0) return invalid("the delta of a range is 0");
  const __int128 distance = __int128{limit.int_at(0)} - start.int_at(0);
  const __int128 count = (distance + step + (step > 0 ? -1 : 1)) / step;
  if ((distance > 0) != (step > 0) || distance == 0) return 0;
  if (count > INT64_MAX) return invalid("a range has too many elements");
  return static_cast<int64_t>(count);
}

}  // namespace

Result<Types> Range::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 3));
  const DType type = args.type(0).dtype;
  if (!is_float(type) && !is_integer(type)) return invalid("a range of {}", name(type));
  if (args.type(1).dtype != type || args.type(2).dtype != type)
    return invalid("start, limit, delta are {}, {}, {}", name(type), name(args.type(1).dtype),
                   name(args.type(2).dtype));
  for (size_t k = 0; k < 3; ++k)
    if (!args.value(k).defined()) return Types{{type, unknown_dims(1)}};
  HONE_TRY(const int64_t count, range_count(args.value(0), args.value(1), args.value(2)));
  return Types{{type, Shape({Dim(count)})}};
}

Result<Tensors> Range::evaluate(const EvalArgs& args) const {
  HONE_TRY(const int64_t count, range_count(args[0], args[1], args[2]));
  const DType type = args[0].type();
  HONE_CHECK(check_dims(type, {&count, 1}));
  Tensor out(type, {count});
  for (int64_t i = 0; i < count; ++i) {
    if (is_float(type)) out.set(i, args[0].at(0) + static_cast<double>(i) * args[2].at(0));
    else out.set_int(i, args[0].int_at(0) + i * args[2].int_at(0));
  }
  return Tensors{out};
}

Result<Types> Random::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  if (kind != "normal" && kind != "uniform") return invalid("distribution '{}' is unknown", kind);
  if (!is_float(dtype)) return invalid("random numbers of {}", name(dtype));
  if (kind == "normal" && !(b >= 0)) return invalid("deviation {} is negative", b);
  if (kind == "uniform" && !(a <= b)) return invalid("the range [{}, {}) is empty", a, b);
  const Tensor& shape = args.value(0);
  if (!shape.defined()) return Types{{dtype, unknown_dims(vector_length(args.type(0).shape))}};
  const auto dims = shape.to_ints();
  HONE_CHECK(check_dims(dtype, dims));
  return Types{{dtype, Shape::of(dims)}};
}

Result<Tensors> Random::evaluate(const EvalArgs& args) const {
  const auto dims = args[0].to_ints();
  HONE_CHECK(check_dims(dtype, dims));
  Tensor out(dtype, dims);
  std::mt19937_64 generator(seeded ? std::hash<double>()(seed) : std::random_device()());
  std::normal_distribution<double> normal(a, b > 0 ? b : 1);
  std::uniform_real_distribution<double> uniform(a, b);
  for (int64_t i = 0; i < out.count(); ++i)
    out.set(i, kind == "uniform" ? (a == b ? a : uniform(generator)) : (b > 0 ? normal(generator) : a));
  return Tensors{out};
}

Result<Types> MelWeights::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 5));
  if (!is_float(dtype) && !is_integer(dtype)) return invalid("mel weights of {}", name(dtype));
  Shape shape = unknown_dims(2);
  const Tensor &bins = args.value(0), &length = args.value(1);
  if (length.defined() && length.count() == 1 && length.int_at(0) >= 0) shape.dims[0] = length.int_at(0) / 2 + 1;
  if (bins.defined() && bins.count() == 1 && bins.int_at(0) >= 0) shape.dims[1] = bins.int_at(0);
  return Types{{dtype, shape}};
}

Result<Tensors> MelWeights::evaluate(const EvalArgs& args) const {
  for (const Tensor& t : args.inputs) HONE_CHECK(check_scalar(t, "an input"));
  const int64_t bins = args[0].int_at(0), length = args[1].int_at(0), rate = args[2].int_at(0);
  const double low = args[3].at(0), high = args[4].at(0);
  if (bins < 0 || length < 0 || rate <= 0 || !(low >= 0) || !(high >= low) || !(high < 1e12))
    return invalid("mel weights of {}, length {}, rate {}, {} to {} hertz", counted(bins, "bin"), length, rate, low,
                   high);
  const int64_t rows = length / 2 + 1;
  const Dims dims{rows, bins};
  HONE_CHECK(check_dims(dtype, dims));
  Tensor out(dtype, dims);
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double step = (mel(high) - mel(low)) / static_cast<double>(bins + 2);
  // The spectrum bin at each corner of the triangles.
  const auto corner = [&](int64_t i) {
    const double hertz = 700 * (std::pow(10.0, (static_cast<double>(i) * step + mel(low)) / 2595) - 1);
    return static_cast<int64_t>(std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate)));
  };
  const auto set = [&](int64_t row, int64_t column, double value) {
    if (row < rows) out.set(row * bins + column, value);
  };
  for (int64_t i = 0; i < bins; ++i) {
    const int64_t left = corner(i), peak = corner(i + 1), right = corner(i + 2);
    if (peak == left) set(peak, i, 1);
    for (int64_t j = left; j <= std::min(peak, rows) && peak > left; ++j)
      set(j, i, static_cast<double>(j - left) / static_cast<double>(peak - left));
    for (int64_t j = peak; j < std::min(right, rows); ++j)
      set(j, i, static_cast<double>(right - j) / static_cast<double>(right - peak));
  }
  return Tensors{out};
}

std::span<const OpRow> generate_ops() {
  static constexpr OpRow kRows[] = {op_row<Range>(), op_row<Random>(), op_row<MelWeights>()};
  return kRows;
}

}  // namespace hone
