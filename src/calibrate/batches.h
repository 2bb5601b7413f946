#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "calibrate/preprocess.h"
#include "ir/type.h"

namespace hone::calibrate {

// An input of the model, its type as imported.
struct Input {
  std::string name;
  TensorType type;
};

struct Batch {
  std::string source;          // for messages: a file, or whatever the data's owner calls it
  std::vector<Tensor> inputs;  // in the model's order
};

// Calibration data, one batch after the other. A batch is looked at before the next is asked for and may lie in the
// same memory.
class Batches {
 public:
  virtual ~Batches() = default;
  virtual Result<std::optional<Batch>> next() = 0;  // nothing after the last
  virtual size_t count() const { return 0; }        // how many there will be; 0 when that is not known
};

// Data in files, in the order of their names. `path` is
//   a folder of .npy files (of a model with one input) or .npz files (arrays named like the inputs, others are left
//   alone), a folder with test_data_set_*/input_K.pb, or one such test_data_set (the ONNX test layout), a folder of
//   .png, .jpg, .jpeg, .bmp or .ppm images, with `preprocess`, or one file of these kinds.
// Nothing is read before it is asked for. Errors name the file.
Result<std::unique_ptr<Batches>> open_data(const std::string& path, const std::string& model_path,
                                           std::vector<Input> inputs, std::optional<Preprocess> preprocess);

}  // namespace hone::calibrate
