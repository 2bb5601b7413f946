#include "ops/signal.h"

#include <algorithm>
#include <complex>
#include <numbers>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

using Complex = std::complex<double>;

// The transform of `in`, one frequency after the other; `roots` are the powers of the primitive root of its length.
void transform(const std::vector<Complex>& in, const std::vector<Complex>& roots, std::vector<Complex>& out) {
  const size_t n = in.size();
  for (size_t k = 0; k < out.size(); ++k) {
    Complex sum = 0;
    for (size_t i = 0, power = 0; i < n; ++i) {
      sum += in[i] * roots[power];
      power += k;
      if (power >= n) power -= n;
    }
    out[k] = sum;
  }
}

std::vector<Complex> roots_of_unity(int64_t n, bool inverse) {
  std::vector<Complex> roots;
  const double turn = (inverse ? 2 : -2) * std::numbers::pi / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) roots.push_back(std::polar(1.0, turn * static_cast<double>(i)));
  return roots;
}

Result<int64_t> checked_length(const Tensor& length) {
  if (length.count() != 1 || length.int_at(0) <= 0 || length.int_at(0) > INT32_MAX)
    return invalid("transform length {} is not one positive number", to_string(length.to_ints()));
  return length.int_at(0);
}

// What is known of a transform: its axis, its length, how many frequencies or samples come out.
struct Plan {
  size_t axis;
  Dim length, bins;
};

Result<Plan> plan(const Dft& op, const Shape& x, bool has_length, const Tensor& length, const Tensor& axis_input) {
  if (axis_input.defined() && axis_input.count() != 1)
    return invalid("axis has {}, not one", counted(axis_input.count(), "element"));
  HONE_TRY(const int64_t axis, normalize_axis(axis_input.defined() ? axis_input.int_at(0) : op.axis, x.rank()));
  if (axis == x.rank() - 1) return invalid("axis {} holds the complex parts", axis);
  const Dim parts = x.dims.back();
  if (parts.known() && parts.value != 1 && parts.value != 2)
    return invalid("the last dim is {}, neither 1 nor 2", parts.value);
  if (op.onesided && parts.known() && parts.value != (op.inverse ? 2 : 1))
    return invalid("a one-sided {}transform of {}", op.inverse ? "inverse " : "", counted(parts.value, "part"));
  const Dim own = x.dims[static_cast<size_t>(axis)];
  const bool halved = op.onesided && op.inverse;
  Plan p{static_cast<size_t>(axis),
         halved ? own.known() ? Dim(std::max<int64_t>(2 * (own.value - 1), 0)) : Dim() : own,
         {}};
  if (has_length) p.length = {};
  if (length.defined()) {
    HONE_TRY(const int64_t given, checked_length(length));
    p.length = given;
  }
  if (p.length.known() && p.length.value <= 0) return invalid("a transform of length {}", p.length.value);
  p.bins = op.onesided && !op.inverse ? p.length.known() ? Dim(p.length.value / 2 + 1) : Dim() : p.length;
  return p;
}

}  // namespace

Result<Types> Dft::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (!is_float(x.dtype)) return invalid("transform of {}", name(x.dtype));
  if (!x.shape.ranked) return Types{x};
  if (x.shape.rank() < 2) return invalid("{} is not a signal", to_text(x));
  Shape out = x.shape;
  if (args.has(2) && !args.value(2).defined()) {
    out = unknown_dims(x.shape.rank());
    out.dims.back() = onesided && inverse ? 1 : 2;
    return Types{{x.dtype, out}};
  }
  HONE_TRY(const Plan p, plan(*this, x.shape, args.has(1), args.value(1), args.value(2)));
  out.dims[p.axis] = p.bins;
  out.dims.back() = onesided && inverse ? 1 : 2;
  return Types{{x.dtype, out}};
}

Result<Tensors> Dft::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (x.rank() < 2) return invalid("{} is not a signal", to_string(x.dims()));
  HONE_TRY(const Plan p, plan(*this, Shape::of(x.dims()), args.has(1), args[1], args[2]));
  const int64_t parts = x.dims().back(), own = x.dims()[p.axis], n = p.length.value, bins = p.bins.value;
  Dims dims = x.dims();
  dims[p.axis] = bins;
  dims.back() = onesided && inverse ? 1 : 2;
  HONE_CHECK(check_dims(x.type(), dims));
  Tensor out(x.type(), dims);
  const int64_t outer = span_count(x.dims(), 0, static_cast<int64_t>(p.axis));
  const int64_t inner = span_count(x.dims(), static_cast<int64_t>(p.axis) + 1, x.rank() - 1);
  const auto roots = roots_of_unity(n, inverse);
  std::vector<Complex> signal(static_cast<size_t>(n)), spectrum(static_cast<size_t>(bins));
  for (int64_t row = 0; row < outer * inner; ++row) {
    const int64_t o = row / inner, i = row % inner;
    const auto read = [&](int64_t k) -> Complex {
      if (k >= own) return 0;
      const int64_t at = ((o * own + k) * inner + i) * parts;
      return {x.at(at), parts == 2 ? x.at(at + 1) : 0};
    };
    // The frequencies that a one-sided spectrum leaves out mirror those it has.
    for (int64_t k = 0; k < n; ++k)
      signal[static_cast<size_t>(k)] = onesided && inverse && k > n / 2 ? std::conj(read(n - k)) : read(k);
    transform(signal, roots, spectrum);
    for (int64_t k = 0; k < bins; ++k) {
      const Complex value = spectrum[static_cast<size_t>(k)] / (inverse ? static_cast<double>(n) : 1.0);
      const int64_t at = ((o * bins + k) * inner + i) * dims.back();
      out.set(at, value.real());
      if (dims.back() == 2) out.set(at + 1, value.imag());
    }
  }
  return Tensors{out};
}

std::span<const OpRow> signal_ops() {
  static constexpr OpRow kRows[] = {op_row<Dft>()};
  return kRows;
}

}  // namespace hone
