#pragma once

#include <array>

#include "base/tensor.h"

namespace hone::cuda {

// How the tensor memory accelerator (compute capability 9.0 on) reads boxes of a tensor into shared memory. Dims are
// innermost first, as in the CUDA Driver API's reference of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col. Outside
// of the tensor zeros are read, and rows of 64 or 128 bytes are stored with the swizzle of that size.
struct TensorMapSpec {
  DType type = DType::f32;  // f32 is read as TF32
  std::vector<uint64_t> dims;
  std::vector<uint64_t> strides;          // in bytes, of all dims but the innermost; multiples of 16
  std::vector<uint32_t> box;              // elements of a box; for im2col: channels and pixels
  std::vector<uint32_t> element_strides;  // one a dim
  std::vector<int> lower, upper;  // im2col: corners of the box of pixels, innermost spatial dim first; else empty
};

// The descriptor that kernels take as a `const __grid_constant__` parameter.
struct alignas(64) TensorMap {
  std::array<uint64_t, 16> words;
};

Result<TensorMap> encode(const TensorMapSpec& spec, const void* address);

}  // namespace hone::cuda
