#include "compile/import_model.h"

#include <algorithm>

#include "import/onnx/model.h"

namespace hone {
namespace {

Status check_names(const Graph& graph, const std::map<std::string, Dims>& shapes) {
  for (const auto& [name, dims] : shapes) {
    const bool found = std::any_of(graph.inputs().begin(), graph.inputs().end(), [&](ValueId v) { return graph.value(v).name == name; });
    if (!found) return invalid("a shape is given for '{}', which is no input", name);
  }
  return {};
}

// `shapes`, with the open leading dims of other inputs filled in.
Result<std::map<std::string, Dims>> fill_in(const Graph& graph, std::map<std::string, Dims> shapes, int64_t batch) {
  std::string open;
  for (ValueId v : graph.inputs()) {
    const std::string& name = graph.value(v).name;
    const Shape& shape = graph.type(v).shape;
    if (shapes.contains(name) || shape.known()) continue;
    Dims dims;
    for (size_t i = 0; i < shape.dims.size(); ++i) dims.push_back(shape.dims[i].known() ? shape.dims[i].value : i == 0 ? batch : -1);
    if (shape.ranked && std::find(dims.begin(), dims.end(), -1) == dims.end()) shapes[name] = dims;
    else open += fmt::format("{}'{}' {}", open.empty() ? "" : ", ", name, to_text(graph.type(v)));
  }
  if (!open.empty()) return invalid("some dims are open, give shapes for the inputs {}", open);
  return shapes;
}

}  // namespace

Result<Graph> import_model(const std::string& path, const std::map<std::string, Dims>& shapes, int64_t batch) {
  HONE_TRY(Graph graph, import_onnx_file(path, {.shapes = shapes}));
  HONE_CHECK(check_names(graph, shapes).within(path));
  auto filled = fill_in(graph, shapes, batch);
  if (!filled.ok()) return filled.status().within(path);
  if (*filled == shapes) return graph;
  return import_onnx_file(path, {.shapes = *filled});
}

}  // namespace hone
