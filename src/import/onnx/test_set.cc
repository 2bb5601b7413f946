#include "import/onnx/test_set.h"

#include <onnx/onnx-data.pb.h>
#include <onnx/onnx-ml.pb.h>

#include <filesystem>
#include <limits>
#include <set>

#include "base/file_map.h"
#include "import/onnx/tensor_proto.h"

namespace hone {
namespace {

template <class Proto>
Result<Proto> parse(const std::string& path) {
  HONE_TRY(auto file, FileMap::open(path));
  Proto proto;
  if (file->bytes().size() > std::numeric_limits<int>::max() ||
      !proto.ParseFromArray(file->bytes().data(), static_cast<int>(file->bytes().size())))
    return invalid("{}: not serialised data of the type that the model declares", path);
  return proto;
}

Result<Tensor> to_value(const onnx::SequenceProto& proto) {
  std::vector<Tensor> items;
  for (const auto& item : proto.tensor_values()) {
    HONE_TRY(items.emplace_back(), import_onnx::to_tensor(item, "."));
  }
  for (const auto& item : proto.sequence_values()) {
    HONE_TRY(items.emplace_back(), to_value(item));
  }
  return Tensor::sequence(std::move(items));
}

Result<Tensor> to_value(const onnx::OptionalProto& proto) {
  if (proto.has_tensor_value()) return import_onnx::to_tensor(proto.tensor_value(), ".");
  if (proto.has_sequence_value()) return to_value(proto.sequence_value());
  return Tensor();
}

Result<Tensor> read_value(const std::string& path, RecordedKind kind) {
  if (kind == RecordedKind::optional) {
    HONE_TRY(const auto proto, parse<onnx::OptionalProto>(path));
    return to_value(proto);
  }
  if (kind == RecordedKind::sequence) {
    HONE_TRY(const auto proto, parse<onnx::SequenceProto>(path));
    return to_value(proto);
  }
  HONE_TRY(const auto proto, parse<onnx::TensorProto>(path));
  auto tensor = import_onnx::to_tensor(proto, ".");
  if (!tensor.ok()) return tensor.status().within(path);
  return tensor;
}

Result<std::vector<Tensor>> read_all(const std::string& folder, const char* prefix,
                                     std::span<const RecordedKind> kinds) {
  std::vector<Tensor> values;
  for (size_t k = 0;; ++k) {
    const std::string path = fmt::format("{}/{}_{}.pb", folder, prefix, k);
    if (!std::filesystem::exists(path)) return values;
    if (k >= kinds.size()) return invalid("{}: the model has only {} {}s", path, kinds.size(), prefix);
    HONE_TRY(values.emplace_back(), read_value(path, kinds[k]));
  }
}

RecordedKind kind_of(const onnx::TypeProto& type) {
  return type.has_optional_type()   ? RecordedKind::optional
         : type.has_sequence_type() ? RecordedKind::sequence
                                    : RecordedKind::tensor;
}

}  // namespace

Result<TestSet> read_test_set(std::span<const RecordedKind> inputs, std::span<const RecordedKind> outputs,
                              const std::string& folder) {
  TestSet set;
  HONE_TRY(set.inputs, read_all(folder, "input", inputs));
  HONE_TRY(set.outputs, read_all(folder, "output", outputs));
  return set;
}

Result<TestSet> read_test_set(const std::string& model_path, const std::string& folder) {
  HONE_TRY(const auto model, parse<onnx::ModelProto>(model_path));
  std::set<std::string> initialised;
  for (const auto& tensor : model.graph().initializer()) initialised.insert(tensor.name());
  std::vector<RecordedKind> inputs, outputs;
  for (const auto& info : model.graph().input())
    if (!initialised.contains(info.name())) inputs.push_back(kind_of(info.type()));
  for (const auto& info : model.graph().output()) outputs.push_back(kind_of(info.type()));
  return read_test_set(inputs, outputs, folder);
}

}  // namespace hone
