#include "base/tensor.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/out_of_memory.h"

namespace hone {
namespace {

constexpr size_t kAlignment = 64;

std::shared_ptr<void> allocate(size_t bytes) {
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) throw OutOfMemory(rounded);
  std::memset(memory, 0, rounded);
  return {memory, std::free};
}

double element(float v) { return v; }
double element(double v) { return v; }
double element(f16 v) { return to_float(v); }
double element(bf16 v) { return to_float(v); }
template <class T>
double element(T v) {
  return static_cast<double>(v);
}

void store(float& to, double v) { to = static_cast<float>(v); }
void store(double& to, double v) { to = v; }
void store(f16& to, double v) { to = to_f16(v); }
void store(bf16& to, double v) { to = to_bf16(v); }
void store(bool& to, double v) { to = v != 0; }
void store(uint64_t& to, double v) { to = to_uint64(v); }
template <class T>
void store(T& to, double v) {
  to = static_cast<T>(to_int64(v));
}

}  // namespace

int64_t element_count(std::span<const int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  return count;
}

Result<int64_t> checked_bytes(DType type, std::span<const int64_t> dims) {
  __int128 bytes = std::max<size_t>(size_of(type), 1);
  bool empty = false;
  for (int64_t d : dims) {
    if (d < 0) return invalid("shape {} has a negative dim", to_string(dims));
    empty |= d == 0;
    if (d > 0) bytes *= d;
    if (bytes > (__int128{1} << 62)) return invalid("shape {} is too large", to_string(dims));
  }
  return empty ? 0 : static_cast<int64_t>(bytes);
}

Dims strides_of(std::span<const int64_t> dims) {
  Dims strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

std::string to_string(std::span<const int64_t> dims) { return fmt::format("[{}]", fmt::join(dims, ",")); }

Tensor::Tensor(DType type, Dims dims) : type_(type), dims_(std::move(dims)) {
  if (type == DType::string) {
    strings_ = std::make_shared<std::vector<std::string>>(static_cast<size_t>(count()));
    return;
  }
  if (type == DType::sequence) {
    items_ = std::make_shared<std::vector<Tensor>>();
    return;
  }
  auto memory = allocate(bytes());
  data_ = memory.get();
  owner_ = std::move(memory);
}

Tensor::Tensor(DType type, Dims dims, const void* data, std::shared_ptr<const void> owner)
    : type_(type), dims_(std::move(dims)), data_(data), owner_(std::move(owner)) {}

Tensor Tensor::strings(Dims dims, std::vector<std::string> values) {
  Tensor t(DType::string, std::move(dims));
  *t.strings_ = std::move(values);
  return t;
}

Tensor Tensor::sequence(std::vector<Tensor> items) {
  Tensor t(DType::sequence, {});
  t.items_ = std::make_shared<std::vector<Tensor>>(std::move(items));
  return t;
}

Tensor Tensor::scalar(int64_t value) {
  Tensor t(DType::i64, {});
  t.mutable_data<int64_t>()[0] = value;
  return t;
}

Tensor Tensor::scalar(double value, DType type) {
  Tensor t(type, {});
  t.set(0, value);
  return t;
}

Tensor Tensor::vector(std::span<const int64_t> values) {
  return of<int64_t>(DType::i64, {static_cast<int64_t>(values.size())}, values);
}

Tensor Tensor::reshaped(Dims dims) const {
  Tensor t = *this;
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::part(Dims dims, int64_t offset) const {
  Tensor t = reshaped(std::move(dims));
  t.data_ = static_cast<const std::byte*>(data_) + offset;
  return t;
}

double Tensor::at(int64_t index) const {
  if (data_ == nullptr) return 0;
  double value = 0;
  if (!dispatch(type_, [&](auto zero) { value = element(data<decltype(zero)>()[index]); }))
    value = decode_small(type_, data<uint8_t>()[index]);
  return value;
}

int64_t Tensor::int_at(int64_t index) const {
  if (data_ == nullptr) return 0;
  if (type_ == DType::i64 || type_ == DType::u64) return data<int64_t>()[index];
  return static_cast<int64_t>(at(index));
}

void Tensor::set(int64_t index, double value) {
  if (!dispatch(type_, [&](auto zero) { store(mutable_data<decltype(zero)>()[index], value); }))
    mutable_data<uint8_t>()[index] = encode_small(type_, value);
}

void Tensor::set_int(int64_t index, int64_t value) {
  if (type_ == DType::i64 || type_ == DType::u64) {
    mutable_data<int64_t>()[index] = value;
  } else {
    set(index, static_cast<double>(value));
  }
}

std::vector<int64_t> Tensor::to_ints() const {
  std::vector<int64_t> out(static_cast<size_t>(count()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = int_at(static_cast<int64_t>(i));
  return out;
}

std::vector<double> Tensor::to_doubles() const {
  std::vector<double> out(static_cast<size_t>(count()));
  const bool wide = data_ != nullptr && dispatch(type_, [&](auto zero) {
                      const auto* const from = data<decltype(zero)>();
                      for (size_t i = 0; i < out.size(); ++i) out[i] = element(from[i]);
                    });
  for (size_t i = 0; i < out.size() && !wide; ++i) out[i] = at(static_cast<int64_t>(i));
  return out;
}

bool Tensor::operator==(const Tensor& other) const {
  if (type_ != other.type_ || dims_ != other.dims_) return false;
  if (!defined()) return true;
  if (type_ == DType::string) return *strings_ == *other.strings_;
  if (type_ == DType::sequence) return *items_ == *other.items_;
  return data_ == other.data_ || bytes() == 0 || std::memcmp(data_, other.data_, bytes()) == 0;
}

}  // namespace hone
