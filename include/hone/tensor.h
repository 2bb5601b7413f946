#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "export.h"

HONE_NAMESPACE_BEGIN

// Element types. The numbers are those of hone_dtype in C and stay as they are. Types narrower than a byte take a byte
// an element. A boolean is a byte of 0 or 1.
enum class DType : int {
  none = 0,
  f32 = 1, f64 = 2, f16 = 3, bf16 = 4,
  i8 = 5, i16 = 6, i32 = 7, i64 = 8,
  u8 = 9, u16 = 10, u32 = 11, u64 = 12,
  boolean = 13, string = 14,
  f8e4m3fn = 15, f8e4m3fnuz = 16, f8e5m2 = 17, f8e5m2fnuz = 18, f8e8m0 = 19,
  i4 = 20, u4 = 21, i2 = 22, u2 = 23, f4e2m1 = 24,
  c64 = 25, c128 = 26,
};

// "f32", "boolean", ...; a string that is never freed.
HONE_API const char* name(DType type);
// Bytes an element takes in a TensorView; for strings that of a pointer.
HONE_API size_t size_of(DType type);

// The shape of a tensor, held in place: up to kMaxRank dims. In an engine's description -1 stands for a dim that is
// known only when the engine runs.
class Dims {
 public:
  static constexpr size_t kMaxRank = 16;

  Dims() = default;  // a scalar
  Dims(std::initializer_list<int64_t> dims) { assign(dims.begin(), dims.size()); }
  Dims(const std::vector<int64_t>& dims) { assign(dims.data(), dims.size()); }
  Dims(const int64_t* dims, size_t rank) { assign(dims, rank); }

  // Of what was given: above kMaxRank the dims are not kept, and the view is refused wherever it is used.
  size_t rank() const { return rank_; }
  bool valid() const { return rank_ <= kMaxRank; }
  int64_t operator[](size_t axis) const { return dims_[axis]; }
  const int64_t* data() const { return dims_; }
  const int64_t* begin() const { return dims_; }
  const int64_t* end() const { return dims_ + (valid() ? rank_ : 0); }

  // Number of elements; 1 for a scalar, -1 when a dim is unknown.
  int64_t count() const {
    int64_t n = 1;
    for (int64_t d : *this) {
      if (d < 0) return -1;
      n *= d;
    }
    return n;
  }

  bool operator==(const Dims& other) const {
    if (rank_ != other.rank_) return false;
    for (size_t i = 0; valid() && i < rank_; ++i)
      if (dims_[i] != other.dims_[i]) return false;
    return true;
  }
  bool operator!=(const Dims& other) const { return !(*this == other); }

 private:
  void assign(const int64_t* dims, size_t rank) {
    rank_ = rank;
    for (size_t i = 0; rank <= kMaxRank && i < rank; ++i) dims_[i] = dims[i];
  }

  int64_t dims_[kMaxRank] = {};
  size_t rank_ = 0;
};

// The element type that stands for a C++ type, for TensorView::of.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
  else if constexpr (std::is_same_v<T, bool>) return DType::boolean;
  else if constexpr (std::is_same_v<T, const char*>) return DType::string;
  else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>)
    return sizeof(T) == 1 ? DType::i8 : sizeof(T) == 2 ? DType::i16 : sizeof(T) == 4 ? DType::i32 : DType::i64;
  else if constexpr (std::is_integral_v<T>)
    return sizeof(T) == 1 ? DType::u8 : sizeof(T) == 2 ? DType::u16 : sizeof(T) == 4 ? DType::u32 : DType::u64;
  else static_assert(sizeof(T) == 0, "give the DType: TensorView{type, data, dims}");
}

// A dense row-major array in memory that belongs to somebody else; a view owns nothing. `data` is aligned to the
// element size; for strings it is an array of `const char*`, each ending in '\0'.
struct TensorView {
  DType dtype = DType::none;
  void* data = nullptr;
  Dims dims;

  TensorView() = default;
  // Takes constant memory for inputs, which Hone never writes to. What is bound to an output must be writable.
  TensorView(DType type, const void* memory, Dims shape) : dtype(type), data(const_cast<void*>(memory)), dims(shape) {}
  template <class T>
  static TensorView of(T* data, Dims dims) {
    return {dtype_of<std::remove_const_t<T>>(), data, dims};
  }

  size_t bytes() const { return static_cast<size_t>(dims.count()) * size_of(dtype); }
  // The elements as T, which the caller knows to fit `dtype`.
  template <class T>
  T* as() const { return static_cast<T*>(data); }
};

HONE_NAMESPACE_END
