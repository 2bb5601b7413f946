#include "ops/cumulate.h"

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

Result<int64_t> checked_axis(const Tensor& axis, int64_t rank) {
  if (axis.count() != 1) return invalid("axis has {}, not one", counted(axis.count(), "element"));
  return normalize_axis(axis.int_at(0), rank);
}

}  // namespace

Result<Types> Cumulate::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType& x = args.type(0);
  if (kind != "sum" && kind != "prod") return invalid("cumulation '{}' is unknown", kind);
  if (!is_float(x.dtype) && !is_integer(x.dtype)) return invalid("cumulation of {}", name(x.dtype));
  if (x.shape.ranked && args.value(1).defined()) HONE_CHECK(checked_axis(args.value(1), x.shape.rank()));
  return Types{x};
}

Result<Tensors> Cumulate::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(const int64_t at, checked_axis(args[1], x.rank()));
  Tensor out(x.type(), x.dims());
  const int64_t dim = x.dims()[static_cast<size_t>(at)];
  const int64_t outer = span_count(x.dims(), 0, at), inner = span_count(x.dims(), at + 1, x.rank());
  const bool sum = kind == "sum", real = is_float(x.type());
  for (int64_t row = 0; row < outer * inner; ++row) {
    double total = sum ? 0 : 1;
    uint64_t whole = sum ? 0 : 1;  // wraps, as the element type does
    for (int64_t step = 0; step < dim; ++step) {
      const int64_t e = reverse ? dim - 1 - step : step;
      const int64_t i = (row / inner * dim + e) * inner + row % inner;
      const auto store = [&] { real ? out.set(i, total) : out.set_int(i, static_cast<int64_t>(whole)); };
      if (exclusive) store();
      if (real) total = sum ? total + x.at(i) : total * x.at(i);
      else whole = sum ? whole + static_cast<uint64_t>(x.int_at(i)) : whole * static_cast<uint64_t>(x.int_at(i));
      if (!exclusive) store();
    }
  }
  return Tensors{out};
}

std::span<const OpRow> cumulate_ops() {
  static constexpr OpRow kRows[] = {op_row<Cumulate>()};
  return kRows;
}

}  // namespace hone
