#include "ops/matmul.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

// One operand seen as [batch..., rows, columns], with its transposition applied; rank 1 gets a dim that the result
// drops.
struct Operand {
  Shape batch;
  Dim rows, columns;
};

Result<Operand> operand(const Shape& shape, bool transpose, bool left) {
  std::vector<Dim> dims = shape.dims;
  if (dims.empty()) return invalid("a matmul operand is a scalar");
  if (dims.size() == 1 && transpose) return invalid("a matmul operand of rank 1 cannot be transposed");
  if (dims.size() == 1) dims.insert(left ? dims.begin() : dims.end(), Dim(1));
  Operand out;
  out.rows = dims[dims.size() - 2];
  out.columns = dims.back();
  if (transpose) std::swap(out.rows, out.columns);
  dims.resize(dims.size() - 2);
  out.batch = Shape(std::move(dims));
  return out;
}

// The matrix at `data` as a dense row-major array, transposed when asked.
template <class T>
void take_matrix(const T* data, bool transpose, int64_t rows, int64_t columns, std::vector<T>& out) {
  out.resize(static_cast<size_t>(rows * columns));
  if (!transpose) {
    std::copy(data, data + rows * columns, out.begin());
    return;
  }
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t r = 0; r < rows; ++r) out[static_cast<size_t>(r * columns + c)] = data[c * rows + r];
}

// Which matrix of an operand with batch dims `own` serves the flat batch index `at` of the result.
int64_t matrix_of(int64_t at, const Dims& own, const Dims& batch) {
  int64_t index = 0, stride = 1;
  const size_t shift = batch.size() - own.size();
  for (size_t d = batch.size(); d-- > shift;) {
    if (own[d - shift] != 1) index += at % batch[d] * stride;
    stride *= own[d - shift];
    at /= batch[d];
  }
  return index;
}

struct Sizes {
  Dims batch, a_batch, b_batch;
  int64_t m, k, n;
};

template <class T>
std::vector<T> product(const MatMul& op, const EvalArgs& args, const Sizes& s) {
  const auto a = numbers_of<T>(args[0]), b = numbers_of<T>(args[1]);
  const auto bias = args.has(2) ? numbers_of<T>(args[2]) : std::vector<T>(static_cast<size_t>(s.n));
  const int64_t count = element_count(s.batch);
  std::vector<T> out(static_cast<size_t>(count * s.m * s.n)), left, right;
  for (int64_t i = 0; i < count; ++i) {
    take_matrix(a.data() + matrix_of(i, s.a_batch, s.batch) * s.m * s.k, op.trans_a, s.m, s.k, left);
    take_matrix(b.data() + matrix_of(i, s.b_batch, s.batch) * s.k * s.n, op.trans_b, s.k, s.n, right);
    T* to = out.data() + i * s.m * s.n;
    for (int64_t r = 0; r < s.m; ++r) std::copy(bias.begin(), bias.end(), to + r * s.n);
    multiply_add(left.data(), right.data(), to, s.m, s.k, s.n);
  }
  return out;
}

}  // namespace

Result<Types> MatMul::infer(const InferArgs& args) const {
  const TensorType &a = args.type(0), &b = args.type(1), &bias = args.type(2);
  if (!is_numeric(a.dtype)) return invalid("{} has no matmul", name(a.dtype));
  const DType sum = sum_type(a.dtype, b.dtype);
  if (sum == a.dtype && b.dtype != a.dtype) return invalid("operands are {} and {}", name(a.dtype), name(b.dtype));
  if (bias.defined() && bias.dtype != a.dtype)
    return invalid("the bias is {}, the operands are {}", name(bias.dtype), name(a.dtype));
  if (bias.defined() && sum != a.dtype) return invalid("a product of {} has no bias", name(a.dtype));
  if (!a.shape.ranked || !b.shape.ranked) return Types{{sum, Shape::unranked()}};
  HONE_TRY(const Operand left, operand(a.shape, trans_a, true));
  HONE_TRY(const Operand right, operand(b.shape, trans_b, false));
  if (left.columns.known() && right.rows.known() && left.columns != right.rows)
    return invalid("{} and {} cannot be multiplied{}{}", to_text(a), to_text(b), trans_a ? ", first transposed" : "",
                   trans_b ? ", second transposed" : "");
  HONE_TRY(Shape shape, broadcast(left.batch, right.batch));
  if (a.shape.dims.size() > 1) shape.dims.push_back(left.rows);
  if (b.shape.dims.size() > 1) shape.dims.push_back(right.columns);
  if (bias.defined() && bias.shape.ranked) {
    const auto& dims = bias.shape.dims;
    if (dims.size() != 1 || (dims[0].known() && right.columns.known() && dims[0] != right.columns))
      return invalid("the bias is {} for {}", to_text(bias), counted(right.columns.value, "column"));
  }
  return Types{{sum, shape}};
}

Result<Tensors> MatMul::evaluate(const EvalArgs& args) const {
  const Types types = types_of(args);
  HONE_TRY(const Types result, infer({types, {}, 1}));
  const Dims dims = *result[0].shape.concrete();
  HONE_CHECK(checked_bytes(result[0].dtype, dims));
  HONE_TRY(const Operand left, operand(types[0].shape, trans_a, true));
  HONE_TRY(const Operand right, operand(types[1].shape, trans_b, false));
  HONE_TRY(const Shape batch, broadcast(left.batch, right.batch));
  const Sizes sizes{*batch.concrete(), *left.batch.concrete(), *right.batch.concrete(),
                    left.rows.value,   left.columns.value,     right.columns.value};
  return with_number(result[0].dtype, [&](auto zero) {
    return Tensors{tensor_from(result[0].dtype, dims, product<decltype(zero)>(*this, args, sizes))};
  });
}

std::span<const OpRow> matmul_ops() {
  static constexpr OpRow kRows[] = {op_row<MatMul>()};
  return kRows;
}

}  // namespace hone
