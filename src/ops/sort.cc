#include "ops/sort.h"

#include <algorithm>
#include <numeric>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

Result<int64_t> checked_k(const Tensor& k, const Dim& dim) {
  if (k.count() != 1) return invalid("k has {}, not one", counted(k.count(), "element"));
  const int64_t n = k.int_at(0);
  if (n < 0 || (dim.known() && n > dim.value)) return invalid("k is {} for a dim of {}", n, dim.value);
  return n;
}

// The slices of a tensor along one axis, compared element by element.
struct Slices {
  const Tensor& x;
  int64_t outer, count, inner;

  int64_t flat(int64_t slice, int64_t o, int64_t i) const { return (o * count + slice) * inner + i; }
  // -1, 0, 1
  int compare(int64_t a, int64_t b) const {
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        if (less_element(x, flat(a, o, i), flat(b, o, i))) return -1;
        if (less_element(x, flat(b, o, i), flat(a, o, i))) return 1;
      }
    }
    return 0;
  }
};

struct Groups {
  std::vector<int64_t> first, count;  // of each group
  std::vector<int64_t> group_of;      // of each slice
};

Groups group(const Slices& slices, bool sorted) {
  std::vector<int64_t> order(static_cast<size_t>(slices.count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return slices.compare(a, b) < 0; });
  Groups g;
  g.group_of.resize(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    if (k == 0 || slices.compare(order[k - 1], order[k]) != 0) {
      g.first.push_back(order[k]);
      g.count.push_back(0);
    }
    ++g.count.back();
    g.group_of[static_cast<size_t>(order[k])] = static_cast<int64_t>(g.first.size() - 1);
  }
  if (sorted) return g;
  // Renumbers the groups by where they first appear.
  std::vector<int64_t> by_first(g.first.size());
  std::iota(by_first.begin(), by_first.end(), 0);
  std::sort(by_first.begin(), by_first.end(),
            [&](int64_t a, int64_t b) { return g.first[static_cast<size_t>(a)] < g.first[static_cast<size_t>(b)]; });
  Groups out;
  std::vector<int64_t> number(g.first.size());
  for (size_t k = 0; k < by_first.size(); ++k) {
    const auto old = static_cast<size_t>(by_first[k]);
    out.first.push_back(g.first[old]);
    out.count.push_back(g.count[old]);
    number[old] = static_cast<int64_t>(k);
  }
  for (int64_t old : g.group_of) out.group_of.push_back(number[static_cast<size_t>(old)]);
  return out;
}

}  // namespace

Result<Types> TopK::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType& x = args.type(0);
  if (is_complex(x.dtype)) return invalid("{} has no order", name(x.dtype));
  Shape out = x.shape;
  if (out.ranked) {
    HONE_TRY(const int64_t at, normalize_axis(axis, out.rank()));
    Dim& dim = out.dims[static_cast<size_t>(at)];
    if (const Tensor& k = args.value(1); k.defined()) {
      HONE_TRY(const int64_t n, checked_k(k, dim));
      dim = n;
    } else {
      dim = {};
    }
  }
  return Types{{x.dtype, out}, {DType::i64, out}};
}

Result<Tensors> TopK::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(const int64_t at, normalize_axis(axis, x.rank()));
  const int64_t dim = x.dims()[static_cast<size_t>(at)];
  HONE_TRY(const int64_t k, checked_k(args[1], dim));
  Dims dims = x.dims();
  dims[static_cast<size_t>(at)] = k;
  Tensor values(x.type(), dims), indices(DType::i64, dims);
  const int64_t outer = span_count(x.dims(), 0, at), inner = span_count(x.dims(), at + 1, x.rank());
  std::vector<int64_t> order(static_cast<size_t>(dim));
  for (int64_t row = 0; row < outer * inner; ++row) {
    const int64_t o = row / inner, i = row % inner;
    const auto flat = [&](int64_t e) { return (o * dim + e) * inner + i; };
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
      const int64_t first = largest ? b : a, second = largest ? a : b;
      if (less_element(x, flat(first), flat(second))) return true;
      return !less_element(x, flat(second), flat(first)) && a < b;
    });
    for (int64_t e = 0; e < k; ++e) {
      const int64_t to = (o * k + e) * inner + i;
      copy_elements(x, flat(order[static_cast<size_t>(e)]), values, to, 1);
      indices.mutable_data<int64_t>()[to] = order[static_cast<size_t>(e)];
    }
  }
  return Tensors{values, indices};
}

Result<Types> Unique::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (is_complex(x.dtype)) return invalid("{} has no order", name(x.dtype));
  Shape values = unknown_dims(1), inverse = unknown_dims(1);
  if (sliced) values = x.shape;
  if (sliced && x.shape.ranked) {
    HONE_TRY(const int64_t at, normalize_axis(axis, x.shape.rank()));
    inverse.dims[0] = x.shape.dims[static_cast<size_t>(at)];
    values.dims[static_cast<size_t>(at)] = {};
  } else if (const auto dims = x.shape.concrete(); dims && !sliced) {
    inverse.dims[0] = element_count(*dims);
  }
  return Types{{x.dtype, values}, {DType::i64, unknown_dims(1)}, {DType::i64, inverse}, {DType::i64, unknown_dims(1)}};
}

Result<Tensors> Unique::evaluate(const EvalArgs& args) const {
  const Tensor x = sliced ? args[0] : args[0].reshaped({args[0].count()});
  HONE_TRY(const int64_t at, normalize_axis(sliced ? axis : 0, x.rank()));
  const Slices slices{x, span_count(x.dims(), 0, at), x.dims()[static_cast<size_t>(at)],
                      span_count(x.dims(), at + 1, x.rank())};
  const Groups groups = group(slices, sorted);
  const auto n = static_cast<int64_t>(groups.first.size());
  Dims dims = x.dims();
  dims[static_cast<size_t>(at)] = n;
  Tensor values(x.type(), dims);
  for (int64_t o = 0; o < slices.outer; ++o)
    for (int64_t k = 0; k < n; ++k)
      copy_elements(x, slices.flat(groups.first[static_cast<size_t>(k)], o, 0), values, (o * n + k) * slices.inner,
                    slices.inner);
  return Tensors{values, Tensor::vector(groups.first), Tensor::vector(groups.group_of), Tensor::vector(groups.count)};
}

std::span<const OpRow> sort_ops() {
  static constexpr OpRow kRows[] = {op_row<TopK>(), op_row<Unique>()};
  return kRows;
}

}  // namespace hone
