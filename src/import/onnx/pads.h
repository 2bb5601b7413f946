#pragma once

#include "import/onnx/importer.h"

namespace hone::import_onnx {

// The attributes that Conv and the pools share, with defaults filled in and auto_pad worked out; one entry a spatial
// dim.
struct WindowAttributes {
  std::vector<int64_t> kernel, strides, dilations, pads;
};

// `x` is the [N, C, spatial...] input. Fails when auto_pad needs dims that are not known.
WindowAttributes window_attributes(NodeImport& n, ValueId x, std::vector<int64_t> kernel);

// The spatial rank, from whichever of the values [.., .., spatial...] has a known rank, else from kernel_shape.
size_t spatial_rank(NodeImport& n, std::span<const ValueId> values);

// The kernel dims of the filter w [.., .., kernel...], checked against the attribute kernel_shape.
std::vector<int64_t> filter_kernel(NodeImport& n, ValueId w, size_t spatial);

}  // namespace hone::import_onnx
