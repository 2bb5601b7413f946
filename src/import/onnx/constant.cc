#include "base/counted.h"
#include "import/onnx/importer.h"
#include "ops/movement.h"

namespace hone::import_onnx {
namespace {

void import_constant(NodeImport& n) {
  for (const char* attr : {"value", "sparse_value"})
    if (n.has(attr)) return n.output(0, n.constant(n.tensor(attr)));
  if (n.has("value_float")) return n.output(0, n.scalar(n.f("value_float"), DType::f32));
  if (n.has("value_int")) return n.output(0, n.constant(Tensor::scalar(n.i("value_int"))));
  if (n.has("value_ints")) return n.output(0, n.ints(n.ints("value_ints")));
  if (n.has("value_string")) return n.output(0, n.constant(Tensor::strings({}, {n.s("value_string")})));
  if (n.has("value_strings")) {
    auto texts = n.strings("value_strings");
    Dims dims{static_cast<int64_t>(texts.size())};
    return n.output(0, n.constant(Tensor::strings(std::move(dims), std::move(texts))));
  }
  if (!n.has("value_floats")) return n.invalid("the constant has no value");
  const auto values = n.floats("value_floats");
  const std::vector<float> exact(values.begin(), values.end());
  n.output(0, n.constant(Tensor::of<float>(DType::f32, {static_cast<int64_t>(exact.size())}, exact)));
}

void import_constant_of_shape(NodeImport& n) {
  const Tensor value = n.has("value") ? n.tensor("value") : Tensor::scalar(0.0);
  if (n.failed()) return;
  if (value.count() != 1) return n.invalid("attribute 'value' has {}, not one", counted(value.count(), "element"));
  n.output(0, n.add(Expand{}, {n.constant(value.reshaped({})), n.input(0)}));
}

}  // namespace

std::span<const ImporterRow> constant_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Constant", import_constant},
      {"ConstantOfShape", import_constant_of_shape},
  };
  return kRows;
}

}  // namespace hone::import_onnx
