#include "cuda/tensor_map.h"

#include "cuda/driver.h"

namespace hone::cuda {
namespace {

// CUtensorMapDataType, CUtensorMapSwizzle and CUtensorMapL2promotion.
constexpr int kFloat16 = 6, kBfloat16 = 9, kTfloat32 = 11, kUint8 = 0;
constexpr int kSwizzle64 = 2, kSwizzle128 = 3, kPromote256 = 3;

int data_type(DType type) {
  return type == DType::f16 ? kFloat16 : type == DType::bf16 ? kBfloat16 : type == DType::f32 ? kTfloat32 : kUint8;
}

}  // namespace

Result<TensorMap> encode(const TensorMapSpec& spec, const void* address) {
  HONE_TRY(const Driver* api, driver());
  TensorMap map;
  void* const at = const_cast<void*>(address);
  const auto rank = static_cast<uint32_t>(spec.dims.size());
  const int swizzle = spec.box[0] * size_of(spec.type) == 64 ? kSwizzle64 : kSwizzle128;
  if (spec.lower.empty()) {
    HONE_CHECK(api->check(
        api->cuTensorMapEncodeTiled(&map, data_type(spec.type), rank, at, spec.dims.data(), spec.strides.data(),
                                    spec.box.data(), spec.element_strides.data(), 0, swizzle, kPromote256, 0),
        "cuTensorMapEncodeTiled"));
  } else {
    HONE_CHECK(
        api->check(api->cuTensorMapEncodeIm2col(&map, data_type(spec.type), rank, at, spec.dims.data(),
                                                spec.strides.data(), spec.lower.data(), spec.upper.data(), spec.box[0],
                                                spec.box[1], spec.element_strides.data(), 0, swizzle, kPromote256, 0),
                   "cuTensorMapEncodeIm2col"));
  }
  return map;
}

}  // namespace hone::cuda
