#include "export/onnx_edit.h"

#include <filesystem>
#include <limits>

#include "base/file_map.h"
#include "import/onnx/tensor_proto.h"

namespace hone::export_onnx {
namespace {

int data_type(DType type) {
  switch (type) {
    case DType::i4: return onnx::TensorProto::INT4;
    case DType::i8: return onnx::TensorProto::INT8;
    case DType::i32: return onnx::TensorProto::INT32;
    default: return onnx::TensorProto::FLOAT;
  }
}

// Two to a byte, the first in the lower half.
std::string packed_nibbles(const Tensor& value) {
  std::string bytes(static_cast<size_t>(value.count() + 1) / 2, '\0');
  for (int64_t i = 0; i < value.count(); ++i) {
    char& byte = bytes[static_cast<size_t>(i) / 2];
    byte = static_cast<char>(byte | (value.int_at(i) & 15) << (i % 2 * 4));
  }
  return bytes;
}

// Of f32, i4, i8 or i32.
void write(onnx::TensorProto& proto, const Tensor& value) {
  proto.set_data_type(data_type(value.type()));
  for (int64_t d : value.dims()) proto.add_dims(d);
  if (value.type() == DType::i4) proto.set_raw_data(packed_nibbles(value));
  else proto.set_raw_data(value.raw(), value.bytes());
}

// All names that nodes read, those of graphs inside them included.
void collect_reads(const onnx::GraphProto& graph, std::set<std::string>& reads) {
  for (const auto& node : graph.node()) {
    reads.insert(node.input().begin(), node.input().end());
    for (const auto& attribute : node.attribute()) {
      if (attribute.has_g()) collect_reads(attribute.g(), reads);
      for (const auto& inner : attribute.graphs()) collect_reads(inner, reads);
    }
  }
  for (const auto& output : graph.output()) reads.insert(output.name());
}

}  // namespace

Result<ModelEdit> ModelEdit::open(const std::string& path) {
  HONE_TRY(const auto file, FileMap::open(path));
  ModelEdit edit;
  if (file->bytes().size() > std::numeric_limits<int>::max() ||
      !edit.model_.ParseFromArray(file->bytes().data(), static_cast<int>(file->bytes().size())))
    return invalid("{}: not an ONNX model, or a truncated one", path);
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  onnx::GraphProto& graph = *edit.model_.mutable_graph();
  for (auto& proto : *graph.mutable_initializer()) {
    edit.names_.insert(proto.name());
    if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
      HONE_TRY(const Tensor value, import_onnx::to_tensor(std::as_const(proto), folder));
      proto.set_raw_data(value.raw(), value.bytes());
      proto.clear_external_data();
      proto.clear_data_location();
    }
    if (proto.data_type() != onnx::TensorProto::FLOAT) continue;
    HONE_TRY(edit.constants_[proto.name()], import_onnx::to_tensor(std::as_const(proto), folder));
  }
  for (const auto& input : graph.input()) edit.names_.insert(input.name());
  for (const auto& node : graph.node()) {
    edit.names_.insert(node.name());
    edit.names_.insert(node.output().begin(), node.output().end());
    if (node.op_type() != "Constant") continue;
    for (const auto& attribute : node.attribute()) {
      if (attribute.name() != "value" || attribute.t().data_type() != onnx::TensorProto::FLOAT) continue;
      HONE_TRY(edit.constants_[node.output(0)], import_onnx::to_tensor(attribute.t(), folder));
    }
  }
  return edit;
}

Tensor ModelEdit::constant(const std::string& name) const {
  const auto found = constants_.find(name);
  return found == constants_.end() ? Tensor() : found->second;
}

std::string ModelEdit::fresh(const std::string& name) {
  std::string candidate = name;
  for (int k = 2; !names_.insert(candidate).second; ++k) candidate = name + "_" + std::to_string(k);
  return candidate;
}

std::string ModelEdit::add_constant(const std::string& name, const Tensor& value) {
  onnx::TensorProto& proto = *model_.mutable_graph()->add_initializer();
  proto.set_name(fresh(name));
  write(proto, value);
  return proto.name();
}

std::string ModelEdit::add_node(const std::string& op, const std::vector<std::string>& inputs,
                                const std::string& output) {
  onnx::NodeProto& node = nodes_.emplace_back();
  node.set_op_type(op);
  for (const std::string& name : inputs) node.add_input(name);
  node.add_output(fresh(output));
  node.set_name(fresh("make_" + node.output(0)));
  return node.output(0);
}

Result<std::string> ModelEdit::finish() {
  onnx::GraphProto& graph = *model_.mutable_graph();
  graph.clear_node();
  for (onnx::NodeProto& node : nodes_) *graph.add_node() = std::move(node);
  std::set<std::string> reads;
  collect_reads(graph, reads);
  for (const auto& input : graph.input()) reads.insert(input.name());  // whose default it may be
  auto& all = *graph.mutable_initializer();
  for (int i = all.size() - 1; i >= 0; --i)
    if (!reads.contains(all[i].name())) all.DeleteSubrange(i, 1);
  if (model_.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int>::max()))
    return unsupported("the quantised model has more than the 2 GiB that an ONNX file can hold");
  return model_.SerializeAsString();
}

}  // namespace hone::export_onnx
