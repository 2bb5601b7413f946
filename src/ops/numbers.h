#pragma once

#include <span>
#include <type_traits>
#include <vector>

#include "base/tensor.h"

namespace hone {

// Bulk conversion between tensors and the arrays that reference code computes on: doubles for floats, int64_t for
// integers and booleans (u64 by its bits, so that wrapping arithmetic stays exact).
template <class T>
std::vector<T> numbers_of(const Tensor& t) {
  std::vector<T> out(static_cast<size_t>(t.count()));
  const bool done = dispatch(t.type(), [&](auto zero) {
    using From = decltype(zero);
    const From* data = t.data<From>();
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (std::is_same_v<From, f16> || std::is_same_v<From, bf16>) out[i] = static_cast<T>(to_float(data[i]));
      else out[i] = static_cast<T>(data[i]);
    }
  });
  for (size_t i = 0; i < out.size() && !done; ++i) out[i] = static_cast<T>(t.at(static_cast<int64_t>(i)));
  return out;
}

// Floats round to nearest; integers wrap.
template <class T>
Tensor tensor_from(DType type, Dims dims, std::span<const T> values) {
  Tensor out(type, std::move(dims));
  const bool done = dispatch(type, [&](auto zero) {
    using To = decltype(zero);
    To* data = out.mutable_data<To>();
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::is_same_v<To, f16>) data[i] = to_f16(static_cast<double>(values[i]));
      else if constexpr (std::is_same_v<To, bf16>) data[i] = to_bf16(static_cast<double>(values[i]));
      else data[i] = static_cast<To>(values[i]);
    }
  });
  for (size_t i = 0; i < values.size() && !done; ++i) out.set(static_cast<int64_t>(i), static_cast<double>(values[i]));
  return out;
}
template <class T>
Tensor tensor_from(DType type, Dims dims, const std::vector<T>& values) {
  return tensor_from<T>(type, std::move(dims), std::span<const T>(values));
}

// Real numbers: what arithmetic is defined on (no strings, no complex, no booleans).
inline bool is_numeric(DType type) { return is_float(type) || is_integer(type); }

// The element type of a sum of products: 8-bit integers, of one sign or of both, are summed exactly in i32, e4m3 in
// f32.
inline DType sum_type(DType a, DType b) {
  const auto narrow = [](DType t) { return t == DType::i8 || t == DType::u8; };
  if (a == DType::f8e4m3fn && b == a) return DType::f32;
  return narrow(a) && narrow(b) ? DType::i32 : a;
}

// Calls f(double{}) for floats and f(int64_t{}) for everything else.
template <class F>
auto with_number(DType type, F&& f) {
  return is_float(type) ? f(double{}) : f(int64_t{});
}

inline double add_wrapping(double a, double b) { return a + b; }
inline int64_t add_wrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

inline double multiply_wrapping(double a, double b) { return a * b; }
inline int64_t multiply_wrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// c[m][n] += a[m][k] * b[k][n], row major and dense; integers wrap. Every element is summed in the order of k.
void multiply_add(const double* a, const double* b, double* c, int64_t m, int64_t k, int64_t n);
void multiply_add(const int64_t* a, const int64_t* b, int64_t* c, int64_t m, int64_t k, int64_t n);

}  // namespace hone
