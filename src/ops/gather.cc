#include "ops/gather.h"

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

Result<int64_t> checked_index(const Tensor& indices, int64_t k, int64_t dim) {
  const int64_t i = indices.int_at(k);
  if (i < -dim || i >= dim) return invalid("index {} is out of range for dim {}", i, dim);
  return i < 0 ? i + dim : i;
}

Status check_integers(const TensorType& indices) {
  return is_integer(indices.dtype) ? Status() : invalid("indices are {}", name(indices.dtype));
}

Status check_reduction(const std::string& reduction, DType type) {
  if (reduction == "none") return {};
  if (reduction != "add" && reduction != "mul" && reduction != "max" && reduction != "min")
    return invalid("reduction '{}' is unknown", reduction);
  if (type == DType::string || is_complex(type)) return invalid("reduction '{}' of {}", reduction, name(type));
  return {};
}

template <class T>
T combined(const std::string& reduction, T a, T b) {
  if (reduction == "add") return a + b;
  if (reduction == "mul") return a * b;
  return (reduction == "max") == (a < b) ? b : a;
}

// out[i] = reduction(out[i], updates[k])
void update(const std::string& reduction, Tensor& out, int64_t i, const Tensor& updates, int64_t k) {
  if (reduction == "none") {
    copy_elements(updates, k, out, i, 1);
  } else if (is_float(out.type())) {
    const double a = out.at(i), b = updates.at(k);
    out.set(i, std::isnan(a) || std::isnan(b) ? a + b : combined(reduction, a, b));
  } else {
    // Sums and products wrap; unsigned arithmetic is right for both signs, comparison only for unsigned ones.
    const auto a = static_cast<uint64_t>(out.int_at(i)), b = static_cast<uint64_t>(updates.int_at(k));
    const bool ordered = reduction == "max" || reduction == "min";
    if (ordered && is_signed(out.type()))
      out.set_int(i, combined(reduction, static_cast<int64_t>(a), static_cast<int64_t>(b)));
    else out.set_int(i, static_cast<int64_t>(combined(reduction, a, b)));
  }
}

// Flat offset of the slice that row `row` of `indices` ([..., k]) addresses in dims[first, first + k).
Result<int64_t> row_offset(const Tensor& indices, int64_t row, const Dims& dims, int64_t first) {
  const Dims strides = strides_of(dims);
  const int64_t k = indices.dims().back();
  int64_t offset = 0;
  for (int64_t j = 0; j < k; ++j) {
    const auto d = static_cast<size_t>(first + j);
    HONE_TRY(const int64_t i, checked_index(indices, row * k + j, dims[d]));
    offset += i * strides[d];
  }
  return offset;
}

// Checks gather_nd's and scatter_nd's indices against the shape they address.
Status check_nd(const Dims& dims, const Dims& indices, int64_t batch) {
  const auto rank = static_cast<int64_t>(std::min(dims.size(), indices.size()));
  if (indices.empty() || batch < 0 || batch >= std::max<int64_t>(rank, 1) ||
      batch >= static_cast<int64_t>(indices.size()))
    return invalid("batch_dims {} for shapes {} and {}", batch, to_string(dims), to_string(indices));
  for (int64_t d = 0; d < batch; ++d)
    if (dims[static_cast<size_t>(d)] != indices[static_cast<size_t>(d)])
      return invalid("batch dims of {} and {} differ", to_string(dims), to_string(indices));
  if (batch + indices.back() > static_cast<int64_t>(dims.size()))
    return invalid("indices {} address more dims than {} has", to_string(indices), to_string(dims));
  return {};
}

// The shape of gather_nd's result, which is also that of scatter_nd's updates.
Result<Shape> nd_shape(const Shape& x, const Shape& indices, int64_t batch) {
  if (!x.ranked || !indices.ranked) return Shape::unranked();
  if (indices.dims.empty()) return invalid("indices are a scalar");
  if (batch < 0 || batch >= indices.rank() || batch > x.rank()) return invalid("batch_dims {} is out of range", batch);
  const Dim& last = indices.dims.back();
  if (!last.known()) return Shape::unranked();
  if (last.value > x.rank() - batch)
    return invalid("indices address {} of {}", last.value, counted(x.rank() - batch, "dim"));
  Shape out;
  out.dims.assign(indices.dims.begin(), indices.dims.end() - 1);
  out.dims.insert(out.dims.end(), x.dims.begin() + batch + last.value, x.dims.end());
  return out;
}

}  // namespace

Result<Types> Gather::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType &x = args.type(0), &indices = args.type(1);
  HONE_CHECK(check_integers(indices));
  if (!x.shape.ranked) return Types{{x.dtype, Shape::unranked()}};
  HONE_TRY(const int64_t at, normalize_axis(axis, x.shape.rank()));
  if (!indices.shape.ranked) return Types{{x.dtype, Shape::unranked()}};
  Shape out = x.shape;
  out.dims.erase(out.dims.begin() + at);
  out.dims.insert(out.dims.begin() + at, indices.shape.dims.begin(), indices.shape.dims.end());
  return Types{{x.dtype, std::move(out)}};
}

Result<Tensors> Gather::evaluate(const EvalArgs& args) const {
  const Tensor &x = args[0], &indices = args[1];
  HONE_TRY(const int64_t at, normalize_axis(axis, x.rank()));
  Dims dims = x.dims();
  const int64_t dim = dims[static_cast<size_t>(at)];
  const int64_t outer = span_count(dims, 0, at), run = span_count(dims, at + 1, x.rank()), n = indices.count();
  dims.erase(dims.begin() + at);
  dims.insert(dims.begin() + at, indices.dims().begin(), indices.dims().end());
  HONE_CHECK(check_dims(x.type(), dims));
  Tensor out(x.type(), dims);
  for (int64_t k = 0; k < n; ++k) {
    HONE_TRY(const int64_t i, checked_index(indices, k, dim));
    for (int64_t o = 0; o < outer; ++o) copy_elements(x, (o * dim + i) * run, out, (o * n + k) * run, run);
  }
  return Tensors{out};
}

Result<Types> GatherElements::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType &x = args.type(0), &indices = args.type(1);
  HONE_CHECK(check_integers(indices));
  if (x.shape.ranked) HONE_CHECK(normalize_axis(axis, x.shape.rank()));
  if (x.shape.ranked && indices.shape.ranked && x.shape.rank() != indices.shape.rank())
    return invalid("ranks {} and {} of data and indices differ", x.shape.rank(), indices.shape.rank());
  return Types{{x.dtype, indices.shape}};
}

Result<Tensors> GatherElements::evaluate(const EvalArgs& args) const {
  const Tensor &x = args[0], &indices = args[1];
  HONE_TRY(const int64_t a, normalize_axis(axis, x.rank()));
  if (x.rank() != indices.rank()) return invalid("shapes {} and {}", to_string(x.dims()), to_string(indices.dims()));
  Tensor out(x.type(), indices.dims());
  if (out.count() == 0) return Tensors{out};
  const auto d_axis = static_cast<size_t>(a);
  const Dims strides = strides_of(x.dims());
  Dims at(indices.dims().size(), 0);
  int64_t k = 0;
  do {
    HONE_TRY(const int64_t i, checked_index(indices, k, x.dims()[d_axis]));
    int64_t from = i * strides[d_axis];
    for (size_t d = 0; d < at.size(); ++d) {
      if (d == d_axis) continue;
      if (at[d] >= x.dims()[d])
        return invalid("indices {} do not fit data {}", to_string(indices.dims()), to_string(x.dims()));
      from += at[d] * strides[d];
    }
    copy_elements(x, from, out, k++, 1);
  } while (next_index(at, indices.dims()));
  return Tensors{out};
}

Result<Types> GatherND::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  HONE_CHECK(check_integers(args.type(1)));
  HONE_TRY(Shape out, nd_shape(args.type(0).shape, args.type(1).shape, batch_dims));
  return Types{{args.type(0).dtype, std::move(out)}};
}

Result<Tensors> GatherND::evaluate(const EvalArgs& args) const {
  const Tensor &x = args[0], &indices = args[1];
  HONE_CHECK(check_nd(x.dims(), indices.dims(), batch_dims));
  HONE_TRY(const Shape shape, nd_shape(Shape::of(x.dims()), Shape::of(indices.dims()), batch_dims));
  const Dims dims = *shape.concrete();
  HONE_CHECK(check_dims(x.type(), dims));
  Tensor out(x.type(), dims);
  const int64_t k = indices.dims().back();
  const int64_t run = span_count(x.dims(), batch_dims + k, x.rank());
  const int64_t batch_size = span_count(x.dims(), batch_dims, x.rank());
  const int64_t rows = span_count(indices.dims(), 0, indices.rank() - 1);
  const int64_t rows_a_batch = span_count(indices.dims(), batch_dims, indices.rank() - 1);
  for (int64_t row = 0; row < rows; ++row) {
    HONE_TRY(const int64_t offset, row_offset(indices, row, x.dims(), batch_dims));
    copy_elements(x, row / rows_a_batch * batch_size + offset, out, row * run, run);
  }
  return Tensors{out};
}

Result<Types> ScatterElements::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 3));
  const TensorType &x = args.type(0), &indices = args.type(1), &updates = args.type(2);
  HONE_CHECK(check_integers(indices));
  HONE_CHECK(check_reduction(reduction, x.dtype));
  if (updates.dtype != x.dtype) return invalid("updates are {}, data {}", name(updates.dtype), name(x.dtype));
  if (x.shape.ranked) HONE_CHECK(normalize_axis(axis, x.shape.rank()));
  return Types{x};
}

Result<Tensors> ScatterElements::evaluate(const EvalArgs& args) const {
  const Tensor &x = args[0], &indices = args[1], &updates = args[2];
  HONE_TRY(const int64_t a, normalize_axis(axis, x.rank()));
  if (x.rank() != indices.rank() || indices.dims() != updates.dims())
    return invalid("shapes {}, {}, {} of data, indices, updates", to_string(x.dims()), to_string(indices.dims()),
                   to_string(updates.dims()));
  Tensor out = clone(x);
  if (indices.count() == 0) return Tensors{out};
  const auto d_axis = static_cast<size_t>(a);
  const Dims strides = strides_of(x.dims());
  Dims at(indices.dims().size(), 0);
  int64_t k = 0;
  do {
    HONE_TRY(const int64_t i, checked_index(indices, k, x.dims()[d_axis]));
    int64_t to = i * strides[d_axis];
    for (size_t d = 0; d < at.size(); ++d) {
      if (d == d_axis) continue;
      if (at[d] >= x.dims()[d])
        return invalid("indices {} do not fit data {}", to_string(indices.dims()), to_string(x.dims()));
      to += at[d] * strides[d];
    }
    update(reduction, out, to, updates, k++);
  } while (next_index(at, indices.dims()));
  return Tensors{out};
}

Result<Types> ScatterND::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 3));
  const TensorType &x = args.type(0), &updates = args.type(2);
  HONE_CHECK(check_integers(args.type(1)));
  HONE_CHECK(check_reduction(reduction, x.dtype));
  if (updates.dtype != x.dtype) return invalid("updates are {}, data {}", name(updates.dtype), name(x.dtype));
  HONE_CHECK(nd_shape(x.shape, args.type(1).shape, 0));
  return Types{x};
}

Result<Tensors> ScatterND::evaluate(const EvalArgs& args) const {
  const Tensor &x = args[0], &indices = args[1], &updates = args[2];
  HONE_CHECK(check_nd(x.dims(), indices.dims(), 0));
  HONE_TRY(const Shape shape, nd_shape(Shape::of(x.dims()), Shape::of(indices.dims()), 0));
  if (updates.dims() != *shape.concrete())
    return invalid("updates are {}, not {}", to_string(updates.dims()), to_string(*shape.concrete()));
  Tensor out = clone(x);
  const int64_t run = span_count(x.dims(), indices.dims().back(), x.rank());
  const int64_t rows = span_count(indices.dims(), 0, indices.rank() - 1);
  for (int64_t row = 0; row < rows; ++row) {
    HONE_TRY(const int64_t offset, row_offset(indices, row, x.dims(), 0));
    for (int64_t r = 0; r < run; ++r) update(reduction, out, offset + r, updates, row * run + r);
  }
  return Tensors{out};
}

std::span<const OpRow> gather_ops() {
  static constexpr OpRow kRows[] = {op_row<Gather>(), op_row<GatherElements>(), op_row<GatherND>(),
                                    op_row<ScatterElements>(), op_row<ScatterND>()};
  return kRows;
}

}  // namespace hone
