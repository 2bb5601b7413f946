#pragma once

#include "import/onnx/importer.h"

namespace hone::import_onnx {

// Building blocks of index arithmetic; they work for dims that are known only when the network runs.

// Dim `axis` of x as an i64 scalar.
ValueId dim_of(NodeImport& n, ValueId x, int64_t axis);
// 0, 1, ..., count - 1 for an i64 scalar count.
ValueId range(NodeImport& n, ValueId count);
// A vector seen as dim `axis` of `rank` dims, the others 1.
ValueId along(NodeImport& n, ValueId vector, int64_t axis, int64_t rank);
// A value of one element as a scalar.
ValueId to_scalar(NodeImport& n, ValueId x);

}  // namespace hone::import_onnx
