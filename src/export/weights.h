#pragma once

#include "backends/quantize_weights.h"

namespace hone {

struct WeightsModel {
  std::string bytes;                  // of the ONNX file
  std::vector<WeightReport> weights;  // of each MatMul and Gemm by a constant matrix of the file
};

// A model whose large constant matrices, of MatMul and Gemm nodes of the main graph, lie behind DequantizeLinear with
// blocks. All else is as in the file, weights of other files included. Errors: invalid (no ONNX model, a format that
// cannot be), unsupported (opset below 21, no matrix to quantise, more than 2 GiB).
Result<WeightsModel> quantized_weights_onnx(const std::string& path, const WeightFormat& format);

}  // namespace hone
