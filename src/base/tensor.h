#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace hone {

using Dims = std::vector<int64_t>;

// Number of elements; 1 for a scalar. Dims are known to be non-negative and not to overflow.
int64_t element_count(std::span<const int64_t> dims);
// The same for dims that nobody has checked: an error for negative dims or more than 2^62 bytes.
Result<int64_t> checked_bytes(DType type, std::span<const int64_t> dims);
// Row-major strides in elements.
Dims strides_of(std::span<const int64_t> dims);
std::string to_string(std::span<const int64_t> dims);

// A dense row-major array. Copies share the storage, which is immutable once shared
// (writers hold the only reference: see mutable_data). An undefined tensor stands for an absent optional input.
class Tensor {
 public:
  Tensor() = default;
  // Zero-filled, 64-byte aligned.
  Tensor(DType type, Dims dims);
  // Over memory that `owner` keeps alive.
  Tensor(DType type, Dims dims, const void* data, std::shared_ptr<const void> owner);
  static Tensor strings(Dims dims, std::vector<std::string> values);
  // A rank-0 value that holds a list of tensors (an undefined one is an empty optional).
  static Tensor sequence(std::vector<Tensor> items);

  template <class T>
  static Tensor of(DType type, Dims dims, std::span<const T> values);
  static Tensor scalar(int64_t value);  // i64, rank 0
  static Tensor scalar(double value, DType type = DType::f32);
  static Tensor vector(std::span<const int64_t> values);  // i64, rank 1

  bool defined() const { return type_ != DType::none; }
  DType type() const { return type_; }
  const Dims& dims() const { return dims_; }
  int64_t rank() const { return static_cast<int64_t>(dims_.size()); }
  int64_t count() const { return defined() ? element_count(dims_) : 0; }
  size_t bytes() const { return static_cast<size_t>(count()) * size_of(type_); }

  const void* raw() const { return data_; }
  void* mutable_raw() { return const_cast<void*>(data_); }
  template <class T>
  const T* data() const { return static_cast<const T*>(data_); }
  template <class T>
  T* mutable_data() { return static_cast<T*>(mutable_raw()); }

  const std::vector<std::string>& text() const { return *strings_; }
  std::vector<std::string>& mutable_text() { return *strings_; }

  const std::vector<Tensor>& items() const { return *items_; }

  // The same elements under other dims of equal count.
  Tensor reshaped(Dims dims) const;
  // The elements that begin `offset` bytes behind the first, in the same memory: all of them, or fewer of numbers.
  Tensor part(Dims dims, int64_t offset) const;

  // Element access by flat index, converting: for shape arithmetic and reference code.
  double at(int64_t index) const;      // any real type, booleans as 0 and 1; 0 where there are no numbers
  int64_t int_at(int64_t index) const; // integers exactly; floats truncated
  void set(int64_t index, double value);
  void set_int(int64_t index, int64_t value);

  std::vector<int64_t> to_ints() const;    // all elements
  std::vector<double> to_doubles() const;  // all elements

  // Same type, dims and bits.
  bool operator==(const Tensor& other) const;

 private:
  DType type_ = DType::none;
  Dims dims_;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<std::vector<std::string>> strings_;
  std::shared_ptr<const std::vector<Tensor>> items_;
};

template <class T>
Tensor Tensor::of(DType type, Dims dims, std::span<const T> values) {
  Tensor t(type, std::move(dims));
  std::copy(values.begin(), values.end(), t.mutable_data<T>());
  return t;
}

// Calls f with a value of the C++ type of `type`: float, double, f16, bf16, the integers, bool.
// False when the type has none (strings, fp8, 4-bit, complex).
template <class F>
bool dispatch(DType type, F&& f) {
  switch (type) {
    case DType::f32: f(float{}); return true;
    case DType::f64: f(double{}); return true;
    case DType::f16: f(f16{}); return true;
    case DType::bf16: f(bf16{}); return true;
    case DType::i8: f(int8_t{}); return true;
    case DType::i16: f(int16_t{}); return true;
    case DType::i32: f(int32_t{}); return true;
    case DType::i64: f(int64_t{}); return true;
    case DType::u8: f(uint8_t{}); return true;
    case DType::u16: f(uint16_t{}); return true;
    case DType::u32: f(uint32_t{}); return true;
    case DType::u64: f(uint64_t{}); return true;
    case DType::boolean: f(bool{}); return true;
    default: return false;
  }
}

}  // namespace hone
