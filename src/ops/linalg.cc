#include "ops/linalg.h"

#include <cmath>
#include <utility>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

// Gaussian elimination with partial pivoting of a row-major n x n matrix, which it overwrites.
double determinant(double* a, int64_t n) {
  double det = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t r = k + 1; r < n; ++r)
      if (std::fabs(a[r * n + k]) > std::fabs(a[pivot * n + k])) pivot = r;
    if (a[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      for (int64_t c = 0; c < n; ++c) std::swap(a[pivot * n + c], a[k * n + c]);
      det = -det;
    }
    det *= a[k * n + k];
    for (int64_t r = k + 1; r < n; ++r) {
      const double factor = a[r * n + k] / a[k * n + k];
      for (int64_t c = k; c < n; ++c) a[r * n + c] -= factor * a[k * n + c];
    }
  }
  return det;
}

}  // namespace

Result<Types> Det::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (!is_float(x.dtype)) return invalid("determinant of {}", name(x.dtype));
  if (!x.shape.ranked) return Types{x};
  if (x.shape.rank() < 2) return invalid("{} holds no matrices", to_text(x));
  HONE_CHECK(merge_dims(x.shape.dims.end()[-2], x.shape.dims.back()));
  return Types{{x.dtype, Shape(std::vector<Dim>(x.shape.dims.begin(), x.shape.dims.end() - 2))}};
}

Result<Tensors> Det::evaluate(const EvalArgs& args) const {
  const TensorType type{args[0].type(), Shape::of(args[0].dims())};
  HONE_TRY(const Types inferred, infer({{&type, 1}, {}}));
  Tensor out(type.dtype, *inferred[0].shape.concrete());
  const int64_t n = args[0].dims().back();
  auto values = args[0].to_doubles();
  for (int64_t i = 0; i < out.count(); ++i) out.set(i, determinant(values.data() + i * n * n, n));
  return Tensors{out};
}

std::span<const OpRow> linalg_ops() {
  static constexpr OpRow kRows[] = {op_row<Det>()};
  return kRows;
}

}  // namespace hone
