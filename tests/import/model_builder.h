// Builds ONNX models for tests.
#pragma once

#include <onnx/onnx-ml.pb.h>

#include <initializer_list>
#include <string>

namespace hone::testing {

class ModelBuilder {
 public:
  explicit ModelBuilder(int64_t opset = 20) {
    model.set_ir_version(9);
    auto* entry = model.add_opset_import();
    entry->set_version(opset);
  }

  onnx::ModelProto model;
  onnx::GraphProto& graph() { return *model.mutable_graph(); }
  std::string bytes() const { return model.SerializeAsString(); }

  static void value(onnx::ValueInfoProto* info, const std::string& name, std::initializer_list<int64_t> dims,
                    int type = onnx::TensorProto::FLOAT) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (int64_t d : dims) tensor->mutable_shape()->add_dim()->set_dim_value(d);
  }
  void input(const std::string& name, std::initializer_list<int64_t> dims, int type = onnx::TensorProto::FLOAT) {
    value(graph().add_input(), name, dims, type);
  }
  void output(const std::string& name) { graph().add_output()->set_name(name); }

  template <class Holder>
  static onnx::NodeProto& node(Holder& holder, const std::string& op, std::initializer_list<const char*> inputs,
                               std::initializer_list<const char*> outputs, const std::string& domain = "") {
    auto& n = *holder.add_node();
    n.set_op_type(op);
    n.set_domain(domain);
    if (outputs.size() > 0) n.set_name("n_" + std::string(*outputs.begin()));
    for (const char* name : inputs) n.add_input(name);
    for (const char* name : outputs) n.add_output(name);
    return n;
  }
  onnx::NodeProto& node(const std::string& op, std::initializer_list<const char*> inputs,
                        std::initializer_list<const char*> outputs, const std::string& domain = "") {
    return node(graph(), op, inputs, outputs, domain);
  }
  onnx::TensorProto& weight(const std::string& name, std::initializer_list<int64_t> dims, bool fill = true) {
    auto& t = *graph().add_initializer();
    t.set_name(name);
    t.set_data_type(onnx::TensorProto::FLOAT);
    int64_t count = 1;
    for (int64_t d : dims) {
      t.add_dims(d);
      count *= d;
    }
    for (int64_t i = 0; fill && i < count; ++i) t.add_float_data(static_cast<float>(i % 7) - 3);
    return t;
  }
  static onnx::AttributeProto& attr(onnx::NodeProto& node, const std::string& name,
                                    onnx::AttributeProto::AttributeType type) {
    auto& a = *node.add_attribute();
    a.set_name(name);
    a.set_type(type);
    return a;
  }
};

// conv, relu, pooling and a matrix product.
inline ModelBuilder small_net() {
  ModelBuilder m;
  m.input("x", {1, 2, 4, 4});
  m.weight("w", {3, 2, 3, 3});
  m.weight("m", {3, 5});
  m.node("Conv", {"x", "w"}, {"c"});
  m.node("Relu", {"c"}, {"r"});
  m.node("GlobalAveragePool", {"r"}, {"p"});
  m.node("Flatten", {"p"}, {"f"});
  m.node("MatMul", {"f", "m"}, {"y"});
  m.output("y");
  return m;
}

}  // namespace hone::testing
