#pragma once

#include "import/onnx/importer.h"

namespace hone::import_onnx {

// What ai.onnx.ml does to the scores of a model, a row for each sample: NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or
// PROBIT.
ValueId post_transform(NodeImport& n, ValueId scores, const std::string& kind);

}  // namespace hone::import_onnx
