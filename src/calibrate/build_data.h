#pragma once

#include "calibrate/calibrate.h"

namespace hone::calibrate {

// What a build takes from the data that it was given.
struct BuildData {
  Thresholds thresholds;              // none where ranges were not asked for
  std::vector<std::string> warnings;  // of finding them
  std::vector<Tensors>
      typical;  // runs of one row, spread over the data: biases of int8 are corrected and weights rounded on them
  std::vector<Tensors> held_back;  // runs that no range is from, for a budget
  bool too_few = false;            // to keep some back: they are from the same runs
};

// What a build takes of a calibration cache and of data, as far as it is given them. int8 and fp8 need ranges; fp16
// takes them where they are to be had.
struct Sources {
  bool cache = false;   // has the ranges
  bool ranges = false;  // are found on the data instead
  bool data = false;    // is read, for whatever reason
};
// `runs`: a budget, or weights that are to be quantised, want runs of the network beside. `cache`: a path, empty
// without one; where there is data to make it of, it need not exist yet.
Sources sources_of(bool bytes, bool half, bool runs, const std::string& cache, bool has_data);

struct BuildDataOptions {
  Options calibration;
  bool ranges = false;  // to be found
  std::string cache;    // that ranges are written to, in the format of its ending; empty: none
  bool budget = false;  // runs are to be held back
};

// Goes through the data once. Errors: those of calibrate(), and invalid (the cache cannot be written).
Result<BuildData> collect(const std::string& model_path, Batches& data, const std::vector<Input>& inputs,
                          const BuildDataOptions& options);

}  // namespace hone::calibrate
