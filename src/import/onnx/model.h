#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace hone {

struct OnnxOptions {
  // Dims for inputs whose dims are symbols or that shall be overridden, by input name.
  std::map<std::string, Dims> shapes;
};

// Reads an ONNX model (opset 6 or newer) as a portable graph. All that is not supported is reported in one message,
// with node names and counts. Thread safe.
Result<Graph> import_onnx_file(const std::string& path, const OnnxOptions& options = {});
// The same from memory; `folder` is where external data is looked for.
Result<Graph> import_onnx_bytes(std::span<const std::byte> bytes, const std::string& folder,
                                const OnnxOptions& options = {});

}  // namespace hone
