#include "ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Status check_kind(const std::string& kind) {
  static constexpr std::string_view kKinds[] = {"sum", "mean",       "max",     "min",         "prod",   "l1",
                                                "l2",  "sum_square", "log_sum", "log_sum_exp", "sum_i32"};
  if (std::find(std::begin(kKinds), std::end(kKinds), kind) == std::end(kKinds))
    return invalid("reduction '{}' is unknown", kind);
  return {};
}

DType result_type(const Reduce& op, DType type) { return op.kind == "sum_i32" ? DType::i32 : type; }

// The axes that a reduction runs over, from its (possibly absent) axes input.
Result<std::vector<int64_t>> reduced_axes(const Tensor& axes, int64_t rank, bool noop_without_axes) {
  if (axes.defined() && axes.count() > 0) return normalize_axes(axes.to_ints(), rank);
  std::vector<int64_t> all;
  for (int64_t d = 0; d < rank && !noop_without_axes; ++d) all.push_back(d);
  return all;
}

Shape reduced_shape(const Shape& x, const std::vector<int64_t>& axes, bool keep_dims) {
  Shape out;
  for (int64_t d = 0; d < x.rank(); ++d) {
    const bool reduced = std::find(axes.begin(), axes.end(), d) != axes.end();
    if (!reduced) out.dims.push_back(x.dims[static_cast<size_t>(d)]);
    else if (keep_dims) out.dims.emplace_back(1);
  }
  return out;
}

// How the elements of x fall on those of the result: the strides of the result seen by x's index.
struct Plan {
  Dims dims;          // of the result
  Dims strides;       // one a dim of x, 0 along reduced ones
  int64_t group = 1;  // elements of x for one of the result
};

Plan plan(const Dims& x, const std::vector<int64_t>& axes, bool keep_dims) {
  Plan p;
  p.dims = *reduced_shape(Shape::of(x), axes, keep_dims).concrete();
  Dims kept = x;
  for (int64_t a : axes) {
    p.group *= x[static_cast<size_t>(a)];
    kept[static_cast<size_t>(a)] = 1;
  }
  p.strides = strides_of(kept);
  for (int64_t a : axes) p.strides[static_cast<size_t>(a)] = 0;
  return p;
}

// Calls f(flat index in x, flat index in the result) for every element of x.
template <class F>
void for_each(const Dims& dims, const Plan& p, F&& f) {
  if (element_count(dims) == 0) return;
  Dims at(dims.size(), 0);
  int64_t from = 0, to = 0;
  const int64_t count = element_count(dims);
  while (true) {
    f(from, to);
    if (++from == count) return;
    for (size_t d = dims.size(); d-- > 0;) {
      to += p.strides[d];
      if (++at[d] < dims[d]) break;
      to -= p.strides[d] * dims[d];
      at[d] = 0;
    }
  }
}

std::vector<double> reduce_reals(const std::string& kind, const Tensor& x, const Plan& p) {
  const auto values = x.to_doubles();
  const auto n = static_cast<size_t>(element_count(p.dims));
  const auto run = [&](double start, auto&& step) {
    std::vector<double> acc(n, start);
    for_each(x.dims(), p, [&](int64_t i, int64_t o) {
      double& a = acc[static_cast<size_t>(o)];
      a = step(a, values[static_cast<size_t>(i)], static_cast<size_t>(o));
    });
    return acc;
  };
  const auto larger = [](double a, double v, size_t) { return v > a || std::isnan(v) ? v : a; };
  const auto finish = [](std::vector<double> acc, auto&& f) {
    for (double& a : acc) a = f(a);
    return acc;
  };
  const auto sum = [](double a, double v, size_t) { return a + v; };
  const auto squares = [](double a, double v, size_t) { return a + v * v; };
  if (kind == "prod") return run(1, [](double a, double v, size_t) { return a * v; });
  if (kind == "max") return run(-kInfinity, larger);
  if (kind == "min") return run(kInfinity, [](double a, double v, size_t) { return v < a || std::isnan(v) ? v : a; });
  if (kind == "l1") return run(0, [](double a, double v, size_t) { return a + std::fabs(v); });
  if (kind == "sum_square") return run(0, squares);
  if (kind == "l2") return finish(run(0, squares), [](double a) { return std::sqrt(a); });
  if (kind == "mean") return finish(run(0, sum), [&](double a) { return a / static_cast<double>(p.group); });
  if (kind == "log_sum") return finish(run(0, sum), [](double a) { return std::log(a); });
  if (kind == "sum") return run(0, sum);
  // The largest exponent is taken out, so that none overflows.
  const auto peak = finish(run(-kInfinity, larger), [](double a) { return std::isinf(a) ? 0.0 : a; });
  auto total = run(0, [&](double a, double v, size_t o) { return a + std::exp(v - peak[o]); });
  for (size_t o = 0; o < n; ++o) total[o] = std::log(total[o]) + peak[o];
  return total;
}

bool is_real_kind(const std::string& kind) { return kind == "l2" || kind == "log_sum" || kind == "log_sum_exp"; }

std::pair<int64_t, int64_t> limits(DType type) {
  if (type == DType::boolean) return {0, 1};
  if (type == DType::u64) return {0, -1};
  std::pair<int64_t, int64_t> out{INT64_MIN, INT64_MAX};
  dispatch(type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>)
      out = {static_cast<int64_t>(std::numeric_limits<T>::min()), static_cast<int64_t>(std::numeric_limits<T>::max())};
  });
  return out;
}

std::vector<int64_t> reduce_ints(const std::string& kind, const Tensor& x, const Plan& p) {
  const bool is_unsigned = x.type() == DType::u64;
  const auto less = [is_unsigned](int64_t a, int64_t b) {
    return is_unsigned ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b;
  };
  const auto [lowest, largest] = limits(x.type());
  const int64_t start = kind == "prod" ? 1 : kind == "max" ? lowest : kind == "min" ? largest : 0;
  std::vector<int64_t> acc(static_cast<size_t>(element_count(p.dims)), start);
  for_each(x.dims(), p, [&](int64_t i, int64_t o) {
    const int64_t v = x.int_at(i);
    int64_t& a = acc[static_cast<size_t>(o)];
    // Overflow wraps, as it does in the element type.
    const auto ua = static_cast<uint64_t>(a), uv = static_cast<uint64_t>(v);
    if (kind == "max") a = less(a, v) ? v : a;
    else if (kind == "min") a = less(v, a) ? v : a;
    else if (kind == "prod") a = static_cast<int64_t>(ua * uv);
    else if (kind == "sum_square") a = static_cast<int64_t>(ua + uv * uv);
    else if (kind == "l1") a = static_cast<int64_t>(ua + (!is_unsigned && v < 0 ? 0 - uv : uv));
    else a = static_cast<int64_t>(ua + uv);
  });
  if (kind == "mean")
    for (int64_t& a : acc)
      a = p.group == 0  ? 0
          : is_unsigned ? static_cast<int64_t>(static_cast<uint64_t>(a) / static_cast<uint64_t>(p.group))
                        : a / p.group;
  return acc;
}

}  // namespace

Result<Types> Reduce::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  HONE_CHECK(check_kind(kind));
  if (x.dtype == DType::string || is_complex(x.dtype)) return invalid("reduction '{}' of {}", kind, name(x.dtype));
  if (kind == "sum_i32" && x.dtype != DType::i8) return invalid("reduction '{}' of {}", kind, name(x.dtype));
  const DType type = result_type(*this, x.dtype);
  if (!x.shape.ranked) return Types{{type, Shape::unranked()}};
  if (args.has(1) && !args.value(1).defined()) {
    if (keep_dims) return Types{{type, unknown_dims(x.shape.rank())}};
    const int64_t n = vector_length(args.type(1).shape);
    return Types{{type, n > 0 ? unknown_dims(x.shape.rank() - n) : Shape::unranked()}};
  }
  HONE_TRY(const auto axes, reduced_axes(args.value(1), x.shape.rank(), noop_without_axes));
  return Types{{type, reduced_shape(x.shape, axes, keep_dims)}};
}

Result<Tensors> Reduce::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(const auto axes, reduced_axes(args[1], x.rank(), noop_without_axes));
  const Plan p = plan(x.dims(), axes, keep_dims);
  Tensor out(result_type(*this, x.type()), p.dims);
  if (is_float(x.type()) || is_real_kind(kind)) {
    const auto values = reduce_reals(kind, x, p);
    for (size_t i = 0; i < values.size(); ++i) out.set(static_cast<int64_t>(i), values[i]);
  } else {
    const auto values = reduce_ints(kind, x, p);
    for (size_t i = 0; i < values.size(); ++i) out.set_int(static_cast<int64_t>(i), values[i]);
  }
  return Tensors{out};
}

Result<Types> ArgReduce::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const Shape& x = args.type(0).shape;
  if (is_complex(args.type(0).dtype)) return invalid("{} has no order", name(args.type(0).dtype));
  if (!x.ranked) return Types{{DType::i64, Shape::unranked()}};
  HONE_TRY(const int64_t at, normalize_axis(axis, x.rank()));
  return Types{{DType::i64, reduced_shape(x, {at}, keep_dims)}};
}

Result<Tensors> ArgReduce::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(const int64_t at, normalize_axis(axis, x.rank()));
  const int64_t dim = x.dims()[static_cast<size_t>(at)];
  Tensor out(DType::i64, *reduced_shape(Shape::of(x.dims()), {at}, keep_dims).concrete());
  if (dim == 0 && out.count() > 0) return invalid("axis {} of shape {} is empty", axis, to_string(x.dims()));
  const int64_t inner = span_count(x.dims(), at + 1, x.rank());
  for (int64_t o = 0; o < out.count(); ++o) {
    const int64_t first = o / inner * dim * inner + o % inner;
    int64_t best = 0;
    for (int64_t k = 1; k < dim; ++k) {
      const int64_t a = first + best * inner, b = first + k * inner;
      const bool better = smallest ? less_element(x, b, a) : less_element(x, a, b);
      const bool tie = select_last && !less_element(x, a, b) && !less_element(x, b, a);
      if (better || tie) best = k;
    }
    out.mutable_data<int64_t>()[o] = best;
  }
  return Tensors{out};
}

std::span<const OpRow> reduce_ops() {
  static constexpr OpRow kRows[] = {op_row<Reduce>(), op_row<ArgReduce>()};
  return kRows;
}

}  // namespace hone
