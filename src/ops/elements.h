#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "ir/type.h"

namespace hone {

// Moving elements of any type, strings included, and the axis arithmetic that goes with it.

// Storage of a 16-byte element.
struct Wide {
  uint64_t half[2];
};

// Calls f(source pointer, target pointer) with the storage type that both tensors' elements have.
template <class F>
void with_elements(const Tensor& from, Tensor& to, F&& f) {
  if (from.type() == DType::string) return f(from.text().data(), to.mutable_text().data());
  switch (size_of(from.type())) {
    case 1: return f(from.data<uint8_t>(), to.mutable_data<uint8_t>());
    case 2: return f(from.data<uint16_t>(), to.mutable_data<uint16_t>());
    case 4: return f(from.data<uint32_t>(), to.mutable_data<uint32_t>());
    case 8: return f(from.data<uint64_t>(), to.mutable_data<uint64_t>());
    default: return f(from.data<Wide>(), to.mutable_data<Wide>());
  }
}

// to[to_at + k] = from[from_at + k] for k < count.
void copy_elements(const Tensor& from, int64_t from_at, Tensor& to, int64_t to_at, int64_t count);
// A tensor with storage of its own.
Tensor clone(const Tensor& x);
// out[i] = x[offset + i . strides] for every multi-index i of `dims`.
Tensor copy_strided(const Tensor& x, const Dims& dims, const Dims& strides, int64_t offset = 0);
// out[i, j, ...] = x[maps[0][i], maps[1][j], ...]; where a map holds -1, the only element of `fill` (zero when
// undefined).
Tensor copy_mapped(const Tensor& x, const std::vector<std::vector<int64_t>>& maps, const Tensor& fill = {});

// A total order on the elements of a real or string tensor: NaN comes last.
bool less_element(const Tensor& x, int64_t i, int64_t j);

// Advances a row-major multi-index; false after the last one.
bool next_index(Dims& at, std::span<const int64_t> dims);
// Product of dims[from, to).
int64_t span_count(std::span<const int64_t> dims, int64_t from, int64_t to);

// The error of inputs 0..n-1 that are absent.
Status require_inputs(std::span<const TensorType> types, size_t n);
// A negative axis counts from the end.
Result<int64_t> normalize_axis(int64_t axis, int64_t rank);
// The same for a list, in which no axis may occur twice.
Result<std::vector<int64_t>> normalize_axes(std::span<const int64_t> axes, int64_t rank);
// The error of dims that are negative or too large to allocate.
Status check_dims(DType type, std::span<const int64_t> dims);
// What is known of a dim from two sources; an error when they differ.
Result<Dim> merge_dims(const Dim& a, const Dim& b);
// A shape of `rank` unknown dims; unranked when the rank is negative or beyond belief.
Shape unknown_dims(int64_t rank);
// The number of elements of a 1-D shape, or -1 when it is not known.
int64_t vector_length(const Shape& shape);

}  // namespace hone
