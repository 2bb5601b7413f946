#include "import/onnx/model.h"

#include <google/protobuf/stubs/logging.h>
#include <onnx/onnx-ml.pb.h>

#include <filesystem>
#include <limits>

#include "base/file_map.h"
#include "import/onnx/scope.h"
#include "import/onnx/tensor_proto.h"

namespace hone {
namespace import_onnx {
namespace {

constexpr int64_t kOldestOpset = 6, kNewestOpset = 27;

Status check_opsets(const onnx::ModelProto& model, Session& session) {
  for (const auto& entry : model.opset_import()) {
    const std::string domain = entry.domain() == "ai.onnx" ? "" : entry.domain();
    session.opsets[domain] = entry.version();
  }
  if (!session.opsets.contains("")) session.opsets[""] = session.opsets.empty() ? 1 : kNewestOpset;
  const int64_t opset = session.opsets[""];
  if (opset < kOldestOpset)
    return unsupported("opset {} is older than {}: export the model again with a newer opset", opset, kOldestOpset);
  if (opset > kNewestOpset)
    return unsupported("opset {} is newer than {}, the newest that is known", opset, kNewestOpset);
  return {};
}

void collect_functions(const onnx::ModelProto& model, Session& session) {
  for (const auto& function : model.functions()) session.functions[{function.domain(), function.name()}] = &function;
}

// One message for everything that is wrong.
Status report(const Session& session) {
  if (session.failures.empty() && session.unknown_ops.empty()) return {};
  std::string text;
  Code code = Code::unsupported;
  size_t shown = 0;
  for (const auto& [op, nodes] : session.unknown_ops) {
    std::string names;
    for (size_t i = 0; i < nodes.size() && i < 5; ++i) names += (i ? ", '" : "'") + nodes[i] + "'";
    if (nodes.size() > 5) names += ", ...";
    text += fmt::format("{}op {} is not supported ({} node{}: {})", text.empty() ? "" : "\n  ", op, nodes.size(),
                        nodes.size() == 1 ? "" : "s", names);
  }
  for (const Status& failure : session.failures) {
    if (failure.message().empty()) continue;
    if (failure.code() != Code::unsupported) code = failure.code();
    if (++shown <= 20) text += (text.empty() ? "" : "\n  ") + failure.message();
  }
  if (shown > 20) text += fmt::format("\n  and {} more", shown - 20);
  return {session.unknown_ops.empty() ? code : Code::unsupported, text};
}

}  // namespace
}  // namespace import_onnx

namespace {

// protobuf writes parse errors to standard error; the caller gets them as a Status instead.
const auto kQuiet = (google::protobuf::SetLogHandler(nullptr), 0);

Result<Graph> import_model(onnx::ModelProto& model, const std::string& folder, const OnnxOptions& options) {
  using namespace import_onnx;
  if (!model.has_graph()) return invalid("not an ONNX model: it holds no graph");
  if (model.graph().output().empty()) return invalid("the model has no outputs: there is nothing to compute");
  Session session{.model = model, .folder = folder, .shapes = options.shapes};
  HONE_CHECK(check_opsets(model, session));
  collect_functions(model, session);
  Graph graph;
  graph.name = model.graph().name();
  for (const auto& entry : model.metadata_props()) graph.metadata[entry.key()] = entry.value();
  Scope scope(session, graph, nullptr);
  scope.opsets = session.opsets;
  import_graph(scope, model.graph(), true);
  HONE_CHECK(report(session));
  graph.remove_dead();
  return graph;
}

}  // namespace

Result<Graph> import_onnx_bytes(std::span<const std::byte> bytes, const std::string& folder,
                                const OnnxOptions& options) {
  if (bytes.size() > std::numeric_limits<int>::max())
    return invalid("protobuf cannot hold a file of over 2 GiB: save the model with external data");
  onnx::ModelProto model;
  if (bytes.empty() || !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return invalid("not an ONNX model, or a truncated one");
  return import_model(model, folder, options);
}

Result<Graph> import_onnx_file(const std::string& path, const OnnxOptions& options) {
  HONE_TRY(auto file, FileMap::open(path));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  auto graph = import_onnx_bytes(file->bytes(), folder.empty() ? "." : folder, options);
  if (!graph.ok()) return graph.status().within(path);
  return graph;
}

}  // namespace hone
