#pragma once

#include <string>

#include "base/tensor.h"

namespace onnx {
class TensorProto;
class SparseTensorProto;
}  // namespace onnx

namespace hone::import_onnx {

// The element type of a TensorProto.DataType number; none when unknown.
DType dtype_of(int data_type);

// Decodes a tensor, checking dims against the data that is there. External data is read from files in `folder`
// (memory-mapped; paths may not leave it). Takes raw bytes out of `proto` where it can.
Result<Tensor> to_tensor(onnx::TensorProto& proto, const std::string& folder);
Result<Tensor> to_tensor(const onnx::TensorProto& proto, const std::string& folder);
Result<Tensor> to_tensor(const onnx::SparseTensorProto& proto, const std::string& folder);

}  // namespace hone::import_onnx
