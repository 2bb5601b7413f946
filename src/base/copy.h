#pragma once

#include <algorithm>
#include <cstddef>

#include "base/tensor.h"

namespace hone {

// The tensor in memory of its own, for what lies in memory that will be used again. Strings and sequences own theirs.
inline Tensor copied(const Tensor& t) {
  if (size_of(t.type()) == 0) return t;
  Tensor copy(t.type(), t.dims());
  std::copy_n(static_cast<const std::byte*>(t.raw()), t.bytes(), static_cast<std::byte*>(copy.mutable_raw()));
  return copy;
}

}  // namespace hone
