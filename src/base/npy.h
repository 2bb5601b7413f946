#pragma once

#include <string>
#include <string_view>

#include "base/tensor.h"

namespace hone {

// NumPy's .npy format, version 1 to 3, little endian, C order (Fortran order is refused). Types without a NumPy
// equivalent (bf16, fp8, 4-bit) are written as f32.
Result<Tensor> read_npy(const std::string& path);
Result<Tensor> npy_from_bytes(std::string_view bytes);
Status write_npy(const std::string& path, const Tensor& value);

}  // namespace hone
