#include "ops/quantize.h"

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

// The axis as it is given when the rank is not known, or when it does not matter (one scale for all).
int64_t axis_of(NodeImport& n) {
  const int64_t axis = n.i("axis", 1), rank = n.type(n.input(0)).shape.rank();
  return axis < 0 && rank >= -axis ? axis + rank : axis;
}

// An element type attribute for which 0 means the default.
DType optional_dtype(NodeImport& n, const char* attr) { return n.i(attr, 0) == 0 ? DType::none : n.dtype(attr); }

void import_quantize(NodeImport& n) {
  const ValueId x = n.input(0), scale = n.input(1), zero = n.input(2);
  const DType given = optional_dtype(n, "output_dtype"), of_zero = n.type(zero).dtype;
  if (given != DType::none && n.has_input(2) && given != of_zero)
    return n.invalid("output_dtype is {}, the zero point {}", name(given), name(of_zero));
  const Quantize op{.type = n.has_input(2)         ? of_zero
                            : given == DType::none ? DType::u8
                                                   : given,
                    .axis = axis_of(n),
                    .block = n.i("block_size", 0),
                    .saturate = n.i("saturate", 1) != 0,
                    .precision = optional_dtype(n, "precision")};
  n.output(0, n.add(op, {x, scale, zero}));
}

void import_dequantize(NodeImport& n) {
  const ValueId x = n.input(0), scale = n.input(1), zero = n.input(2);
  const DType given = optional_dtype(n, "output_dtype");
  const Dequantize op{
      .type = given == DType::none ? n.type(scale).dtype : given, .axis = axis_of(n), .block = n.i("block_size", 0)};
  n.output(0, n.add(op, {x, scale, zero}));
}

void import_dynamic(NodeImport& n) {
  const std::vector<ValueId> results = n.add(DynamicQuantize{}, {n.input(0)}, 3);
  for (size_t k = 0; k < results.size(); ++k) n.output(k, results[k]);
}

}  // namespace

std::span<const ImporterRow> quantize_importers() {
  static constexpr ImporterRow kRows[] = {
      {"QuantizeLinear", import_quantize, 10},
      {"DequantizeLinear", import_dequantize, 10},
      {"DynamicQuantizeLinear", import_dynamic, 11},
      {"QuantizeLinear", import_quantize, 1, "com.microsoft"},
      {"DequantizeLinear", import_dequantize, 1, "com.microsoft"},
  };
  return kRows;
}

}  // namespace hone::import_onnx
