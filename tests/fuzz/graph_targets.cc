#include <algorithm>

#include "fuzz/refused.h"
#include "fuzz/targets.h"
#include "import/onnx/model.h"

namespace hone::fuzz {
namespace {

// Sparse tensors make large constants of a few bytes, whose text is long in coming.
bool has_large_constant(const Graph& graph) {
  return std::ranges::any_of(graph.values(), [&](ValueId v) { return graph.value(v).constant.count() > 1 << 20; });
}

std::string sound(const Graph& graph) {
  if (const Status status = verify(graph); !status.ok()) return "a graph that does not verify: " + status.message();
  if (has_large_constant(graph)) return {};
  const std::string text = to_text(graph);
  const auto again = graph_from_text(text);
  if (!again.ok()) return "text that does not parse back: " + again.status().message() + "\n" + text;
  if (!equal(graph, *again)) return "text that parses back to another graph: " + text;
  return {};
}

}  // namespace

std::string import_onnx(std::string_view bytes) {
  const auto graph = import_onnx_bytes(std::as_bytes(std::span(bytes)), "no such folder");
  return graph.ok() ? sound(*graph) : refused(graph.status(), false);
}

std::string parse_text(std::string_view bytes) {
  const auto graph = graph_from_text(bytes);
  return graph.ok() ? sound(*graph) : refused(graph.status());
}

}  // namespace hone::fuzz
