#include "ops/elements.h"

#include <algorithm>
#include <cmath>

namespace hone {
namespace {

constexpr int64_t kMaxRank = 1024;  // that is taken from the length of a vector: the vector itself may not be there

}  // namespace

void copy_elements(const Tensor& from, int64_t from_at, Tensor& to, int64_t to_at, int64_t count) {
  if (count > 0) with_elements(from, to, [&](const auto* x, auto* y) { std::copy_n(x + from_at, count, y + to_at); });
}

Tensor clone(const Tensor& x) {
  Tensor copy(x.type(), x.dims());
  copy_elements(x, 0, copy, 0, x.count());
  return copy;
}

Tensor copy_strided(const Tensor& x, const Dims& dims, const Dims& strides, int64_t offset) {
  Tensor out(x.type(), dims);
  const int64_t count = out.count();
  if (count == 0) return out;
  const int64_t run = dims.empty() ? 1 : dims.back();
  const int64_t step = dims.empty() ? 0 : strides.back();
  const std::span<const int64_t> outer(dims.data(), dims.empty() ? 0 : dims.size() - 1);
  with_elements(x, out, [&](const auto* from, auto* to) {
    Dims at(outer.size(), 0);
    const auto* row = from + offset;
    for (int64_t done = 0; done < count; done += run) {
      if (step == 1) std::copy_n(row, run, to + done);
      else for (int64_t k = 0; k < run; ++k) to[done + k] = row[k * step];
      for (size_t d = outer.size(); d-- > 0;) {
        row += strides[d];
        if (++at[d] < outer[d]) break;
        row -= strides[d] * outer[d];
        at[d] = 0;
      }
    }
  });
  return out;
}

Tensor copy_mapped(const Tensor& x, const std::vector<std::vector<int64_t>>& maps, const Tensor& fill) {
  Dims dims;
  for (const auto& map : maps) dims.push_back(static_cast<int64_t>(map.size()));
  Tensor out(x.type(), dims);
  if (out.count() == 0) return out;
  const Dims strides = strides_of(x.dims());
  Dims at(dims.size(), 0);
  int64_t to_at = 0;
  do {
    int64_t from_at = 0;
    for (size_t d = 0; d < at.size() && from_at >= 0; ++d) {
      const int64_t i = maps[d][static_cast<size_t>(at[d])];
      from_at = i < 0 ? -1 : from_at + i * strides[d];
    }
    if (from_at >= 0) copy_elements(x, from_at, out, to_at, 1);
    else if (fill.defined()) copy_elements(fill, 0, out, to_at, 1);
    ++to_at;
  } while (next_index(at, dims));
  return out;
}

bool less_element(const Tensor& x, int64_t i, int64_t j) {
  if (x.type() == DType::string) return x.text()[static_cast<size_t>(i)] < x.text()[static_cast<size_t>(j)];
  if (is_float(x.type())) {
    const double a = x.at(i), b = x.at(j);
    return std::isnan(b) ? !std::isnan(a) : a < b;
  }
  const int64_t a = x.int_at(i), b = x.int_at(j);
  return x.type() == DType::u64 ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b;
}

bool next_index(Dims& at, std::span<const int64_t> dims) {
  for (size_t d = dims.size(); d-- > 0;) {
    if (++at[d] < dims[d]) return true;
    at[d] = 0;
  }
  return false;
}

int64_t span_count(std::span<const int64_t> dims, int64_t from, int64_t to) {
  return element_count(dims.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)));
}

Status require_inputs(std::span<const TensorType> types, size_t n) {
  for (size_t k = 0; k < n; ++k) {
    if (k >= types.size() || !types[k].defined()) return invalid("input {} is absent", k);
    if (types[k].dtype == DType::sequence) return invalid("input {} is a sequence", k);
  }
  return {};
}

Result<int64_t> normalize_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) return invalid("axis {} is out of range for rank {}", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

Result<std::vector<int64_t>> normalize_axes(std::span<const int64_t> axes, int64_t rank) {
  std::vector<int64_t> out;
  for (int64_t axis : axes) {
    HONE_TRY(const int64_t a, normalize_axis(axis, rank));
    if (std::find(out.begin(), out.end(), a) != out.end())
      return invalid("axes {} name axis {} twice", to_string(axes), a);
    out.push_back(a);
  }
  return out;
}

Status check_dims(DType type, std::span<const int64_t> dims) { return checked_bytes(type, dims).status(); }

Result<Dim> merge_dims(const Dim& a, const Dim& b) {
  if (a.known() && b.known() && a.value != b.value) return invalid("dims {} and {} differ", a.value, b.value);
  if (a.known() || (!b.known() && !a.symbol.empty())) return a;
  return b;
}

Shape unknown_dims(int64_t rank) {
  return rank < 0 || rank > kMaxRank ? Shape::unranked() : Shape(std::vector<Dim>(static_cast<size_t>(rank)));
}

int64_t vector_length(const Shape& shape) {
  return shape.rank() == 1 && shape.dims[0].known() ? shape.dims[0].value : -1;
}

}  // namespace hone
