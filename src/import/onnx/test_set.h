#pragma once

#include <string>

#include "base/tensor.h"

namespace hone {

// Recorded data in the ONNX test layout: FOLDER/input_K.pb and output_K.pb, in the order of the model's inputs (without
// initialisers) and outputs. An absent optional is an undefined tensor.
struct TestSet {
  std::vector<Tensor> inputs, outputs;
};
Result<TestSet> read_test_set(const std::string& model_path, const std::string& folder);

}  // namespace hone
