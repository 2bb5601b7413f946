#pragma once

#include <string>

#include "base/tensor.h"

namespace hone {

// How a recorded value is serialised.
enum class RecordedKind { tensor, sequence, optional };

// Recorded data in the ONNX test layout: FOLDER/input_K.pb and output_K.pb, in the order of the model's inputs (without
// initialisers) and outputs. An absent optional is an undefined tensor.
struct TestSet {
  std::vector<Tensor> inputs, outputs;
};
// For what has as many inputs and outputs, of these kinds.
Result<TestSet> read_test_set(std::span<const RecordedKind> inputs, std::span<const RecordedKind> outputs,
                              const std::string& folder);
// For a model.
Result<TestSet> read_test_set(const std::string& model_path, const std::string& folder);

}  // namespace hone
