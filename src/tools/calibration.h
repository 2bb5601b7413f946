#pragma once

#include "calibrate/build_data.h"
#include "tools/common.h"

namespace hone::tools {

// Of --target, where a command has no other use for a device.
constexpr std::string_view kTargetHelp =
    "Where the network runs to find ranges: cpu, cuda, cuda:N or reference; auto: cpu";

// Runs the model on the data, with progress on a terminal, and prints the warnings. `preprocess`: of images, as text;
// empty: none.
Result<calibrate::Report> run_calibration(const std::string& model, const std::string& data,
                                          const std::string& preprocess, calibrate::Options options,
                                          const Output& output);

// The ranges for int8 and fp8, and for fp16 where they are to be had: of the cache, when its file exists, else of
// --calibrate's data, and written to the cache then. For a budget some of the data is kept back. `shapes`: of the
// model's inputs.
Result<calibrate::BuildData> calibrated(const ModelOptions& model, const std::map<std::string, Dims>& shapes,
                                        const Output& output);

// The runs kept back as the graph takes them. The error says that none fits.
Result<std::vector<Tensors>> budget_samples(const Graph& graph, std::span<const Tensors> held_back,
                                            const Output& output);

}  // namespace hone::tools
