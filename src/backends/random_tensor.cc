#include "backends/random_tensor.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace hone {

Tensor random_period(DType type) {
  constexpr int64_t kPeriod = 4093;  // a prime: rows do not repeat
  Tensor values(type, {kPeriod});
  const bool bytes_at_random = type == DType::i8 || type == DType::u8;
  constexpr DType kReal[] = {DType::f32, DType::f16, DType::bf16, DType::f8e4m3fn};
  if (!bytes_at_random && std::ranges::find(kReal, type) == std::end(kReal)) return values;
  std::minstd_rand random(1);
  for (int64_t i = 0; i < kPeriod; ++i) {
    if (bytes_at_random) values.set_int(i, static_cast<int64_t>(random() % 255) - (type == DType::i8 ? 127 : 0));
    else values.set(i, static_cast<double>(random() % 2001) / 1000 - 1);
  }
  return values;
}

Tensor random_tensor(const TensorType& type) {
  Tensor t(type.dtype, *type.shape.concrete());
  const size_t bytes = t.bytes();
  if (bytes == 0) return t;
  const Tensor values = random_period(type.dtype);
  for (size_t at = 0; at < bytes; at += values.bytes())
    std::memcpy(t.mutable_data<std::byte>() + at, values.raw(), std::min(values.bytes(), bytes - at));
  return t;
}

}  // namespace hone
