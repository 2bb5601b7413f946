#include "import/onnx/positions.h"

#include "ops/generate.h"
#include "ops/shape.h"

namespace hone::import_onnx {

ValueId dim_of(NodeImport& n, ValueId x, int64_t axis) { return n.reshape(n.add(ShapeOf{axis, axis + 1}, {x}), {}); }

ValueId range(NodeImport& n, ValueId count) {
  return n.add(Range{}, {n.constant(Tensor::scalar(int64_t{0})), count, n.constant(Tensor::scalar(int64_t{1}))});
}

ValueId along(NodeImport& n, ValueId vector, int64_t axis, int64_t rank) {
  if (n.failed()) return ValueId::none;
  std::vector<int64_t> dims(static_cast<size_t>(rank), 1);
  dims[static_cast<size_t>(axis)] = -1;
  return n.reshape(vector, dims);
}

ValueId to_scalar(NodeImport& n, ValueId x) { return n.reshape(x, {}); }

}  // namespace hone::import_onnx
