#include "compile/import_model.h"

#include <algorithm>

#include "import/onnx/model.h"

namespace hone {

Result<ImportedModel> import_model(const std::string& path, const std::map<std::string, Dims>& shapes, int64_t batch) {
  HONE_TRY(Graph graph, import_onnx_file(path, {.shapes = shapes}));
  std::map<std::string, Dims> filled = shapes;
  std::vector<ValueId> open;
  for (ValueId v : graph.inputs()) {
    const std::string& name = graph.value(v).name;
    const Shape& shape = graph.type(v).shape;
    if (shapes.contains(name) || shape.known()) continue;
    Dims dims;
    for (size_t i = 0; i < shape.dims.size(); ++i)
      dims.push_back(shape.dims[i].known() ? shape.dims[i].value : i == 0 ? batch : -1);
    if (shape.ranked && std::find(dims.begin(), dims.end(), -1) == dims.end()) filled[name] = dims;
    else open.push_back(v);
  }
  if (open.empty() && filled != shapes) {
    HONE_TRY(graph, import_onnx_file(path, {.shapes = filled}));
  }
  return ImportedModel{std::move(graph), std::move(open)};
}

}  // namespace hone
