#pragma once

#include "import/onnx/importer.h"

namespace hone::import_onnx {

// (x - zero) * scale in f32, with one scale, or one for each element of `axis`, or scales that broadcast to x.
ValueId dequantized(NodeImport& n, ValueId x, ValueId scale, ValueId zero, int64_t axis);

// (a - a_zero) * (b - b_zero) in i32, exactly, for operands of 8 bits; zero points as in MatMulInteger, or none.
ValueId integer_matmul(NodeImport& n, ValueId a, ValueId b, ValueId a_zero, ValueId b_zero);

}  // namespace hone::import_onnx
