#pragma once

#include <CLI/CLI.hpp>

#include "calibrate/calibrate.h"
#include "tools/common.h"

namespace hone::tools {

// Runs the model on the data, with progress on a terminal, and prints the warnings. `preprocess`: of images, as text;
// empty: none.
Result<calibrate::Report> run_calibration(const std::string& model, const std::string& data,
                                          const std::string& preprocess, calibrate::Options options,
                                          const Output& output);

// The ranges for int8: of the cache, when its file exists, else of --calibrate's data, and written to the cache then.
// `shapes`: of the model's inputs.
Result<Thresholds> thresholds_of(const ModelOptions& model, const std::map<std::string, Dims>& shapes,
                                 const Output& output);

}  // namespace hone::tools
