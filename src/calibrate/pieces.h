#pragma once

#include "calibrate/batches.h"

namespace hone::calibrate {

// A batch as the runs of the model that it stands for.
struct Pieces {
  std::vector<std::vector<Tensor>> runs;
  int64_t samples = 0;
};

// Checks a batch against the model's inputs and cuts it up. An array may lack the leading dim of 1. Where the model
// fixes the leading dims, arrays may hold several times as many rows; where it leaves them open and all arrays have
// equally many, they are run `rows` at a time (0: whole). Errors name the source and the input.
Result<Pieces> cut(const Batch& batch, std::span<const Input> inputs, int64_t rows);

}  // namespace hone::calibrate
