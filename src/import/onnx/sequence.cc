#include "ops/sequence.h"

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

// Ops that are a core op with the same inputs.
template <class T>
void import_same(NodeImport& n) {
  n.output(0, n.add(T{}, n.inputs()));
}

void import_empty(NodeImport& n) { n.output(0, n.add(SequenceConstruct{.element = n.dtype("dtype", DType::f32)}, {})); }

void import_split(NodeImport& n) {
  const SplitToSequence op{.axis = n.i("axis", 0), .keep_dims = n.i("keepdims", 1) != 0};
  n.output(0, n.add(op, n.inputs()));
}

void import_concat(NodeImport& n) {
  if (!n.has("axis")) return n.invalid("attribute 'axis' is missing");
  n.output(0, n.add(ConcatFromSequence{.axis = n.i("axis"), .new_axis = n.i("new_axis", 0) != 0}, n.inputs()));
}

void import_optional(NodeImport& n) {
  n.ignore({"type"});  // the input's, where there is one
  if (n.has_input(0)) return n.output(0, n.input(0));
  const TensorType type = n.type_attr("type");
  n.output(0, n.add(EmptyOptional{.type = type.dtype, .element = type.element}, {}));
}

void import_has_element(NodeImport& n) {
  if (!n.has_input(0)) return n.output(0, n.scalar(0, DType::boolean));
  n.output(0, n.add(OptionalHasElement{}, {n.input(0)}));
}

}  // namespace

std::span<const ImporterRow> sequence_importers() {
  static constexpr ImporterRow kRows[] = {
      {"SequenceConstruct", import_same<SequenceConstruct>, 11},
      {"SequenceEmpty", import_empty, 11},
      {"SequenceAt", import_same<SequenceAt>, 11},
      {"SequenceInsert", import_same<SequenceInsert>, 11},
      {"SequenceErase", import_same<SequenceErase>, 11},
      {"SequenceLength", import_same<SequenceLength>, 11},
      {"SplitToSequence", import_split, 11},
      {"ConcatFromSequence", import_concat, 11},
      {"Optional", import_optional, 15},
      {"OptionalHasElement", import_has_element, 15},
      {"OptionalGetElement", import_same<OptionalGetElement>, 15},
  };
  return kRows;
}

}  // namespace hone::import_onnx
