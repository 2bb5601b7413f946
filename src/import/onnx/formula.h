#pragma once

#include "import/onnx/importer.h"

namespace hone::import_onnx {

// Applies a pointwise program given as text: "in0:f32; in1:f32; add:f32(0,1)".
inline ValueId formula(NodeImport& n, std::string_view text, std::vector<ValueId> inputs) {
  auto program = pointwise_from_text(text);
  if (!program.ok()) n.fail(program.status());
  return n.failed() ? ValueId::none : n.pointwise(std::move(*program), std::move(inputs));
}

}  // namespace hone::import_onnx
