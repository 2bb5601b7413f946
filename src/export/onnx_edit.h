#pragma once

#include <onnx/onnx-ml.pb.h>

#include <map>
#include <set>
#include <string>

#include "base/status.h"
#include "base/tensor.h"

namespace hone::export_onnx {

// A model of which nodes are written anew, in order, with others between them.
class ModelEdit {
 public:
  // Weights that lie in other files are taken into the model.
  static Result<ModelEdit> open(const std::string& path);

  onnx::ModelProto& model() { return model_; }
  // The value of an initialiser or a Constant node; undefined where there is none.
  Tensor constant(const std::string& name) const;

  // Adds a constant under a name that is not taken yet, which begins with `name`. Returns it.
  std::string add_constant(const std::string& name, const Tensor& value);
  // Appends a node, the output of which is named likewise. Returns the output.
  std::string add_node(const std::string& op, const std::vector<std::string>& inputs, const std::string& output);
  onnx::NodeProto& last() { return nodes_.back(); }
  void append(onnx::NodeProto node) { nodes_.push_back(std::move(node)); }
  std::string fresh(const std::string& name);

  // The model with the nodes that were appended, without initialisers that nothing reads any more.
  Result<std::string> finish();

 private:
  ModelEdit() = default;

  onnx::ModelProto model_;
  std::string folder_;
  std::map<std::string, Tensor> constants_;
  std::set<std::string> names_;  // of values and nodes
  std::vector<onnx::NodeProto> nodes_;
};

}  // namespace hone::export_onnx
