#pragma once

#include "backends/quantize.h"
#include "compile/compile.h"

namespace hone {

struct QdqModel {
  std::string bytes;              // of the ONNX file
  std::vector<Int8Layer> layers;  // as quantize() says; those that could not be written have a reason
  std::string note;               // of the correction of biases; may be empty
};

// Whether a file can be quantised at all, before the work. Errors: invalid (no ONNX model), unsupported (opset below
// 13; a model that comes quantised).
Status check_quantizable(const std::string& path);

// A model with QuantizeLinear and DequantizeLinear around what Hone would compute in int8: convolutions and matrix
// products whose input has a range in options.thresholds and whose weights are constants of the file. Weights are i8
// with a scale for each output channel; activations have one scale, and where Hone has one for each channel, a Mul
// before QuantizeLinear and the weights share the factors. Biases are corrected on options.samples. All else is as in
// the file, weights of other files included. `graph` is the model imported for the shapes of the samples. Errors:
// those of check_quantizable(); unsupported (no layer can be quantised, more than 2 GiB).
Result<QdqModel> quantized_onnx(const std::string& path, const Graph& graph, const CompileOptions& options);

}  // namespace hone
