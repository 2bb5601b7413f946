#include <gtest/gtest.h>

#include "import/model_builder.h"
#include "import/onnx/model.h"
#include "ops/matmul_nbits.h"

namespace hone {
namespace {

using testing::ModelBuilder;

// y = x * W^T for W [3, 40], 4 bits in blocks of 16.
struct NBits : ModelBuilder {
  NBits() {
    auto* domain = model.add_opset_import();
    domain->set_domain("com.microsoft");
    domain->set_version(1);
    input("x", {2, 40});
    bytes_of("B", {3, 3, 8}, 72);
    weight("scales", {3, 3});
    product = &node("MatMulNBits", {"x", "B", "scales"}, {"y"}, "com.microsoft");
    set("K", 40);
    set("N", 3);
    set("bits", 4);
    set("block_size", 16);
    output("y");
  }

  void set(const char* name, int64_t value) {
    for (auto& a : *product->mutable_attribute())
      if (a.name() == name) return a.set_i(value);
    attr(*product, name, onnx::AttributeProto::INT).set_i(value);
  }
  void bytes_of(const char* name, std::initializer_list<int64_t> dims, int count) {
    auto& t = weight(name, dims, false);
    t.set_data_type(onnx::TensorProto::UINT8);
    std::string raw;
    for (int i = 0; i < count; ++i) raw.push_back(static_cast<char>(i * 37));
    t.set_raw_data(raw);
  }
  Result<Graph> import() const {
    const std::string text = bytes();
    return import_onnx_bytes(std::as_bytes(std::span(text)), ".", {});
  }
  void expect_error(Code code, const char* words) const {
    const auto graph = import();
    ASSERT_FALSE(graph.ok()) << words;
    EXPECT_EQ(graph.status().code(), code) << graph.status().message();
    EXPECT_NE(graph.status().message().find(words), std::string::npos) << graph.status().message();
    EXPECT_NE(graph.status().message().find("n_y"), std::string::npos) << graph.status().message();
  }

  onnx::NodeProto* product;
};

TEST(MatMulNBits, IsImportedAsItIs) {
  NBits m;
  m.set("accuracy_level", 4);
  const auto graph = m.import();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const Node& node = graph->node(graph->order().back());
  const auto* op = node.op.as<MatMulNBits>();
  ASSERT_NE(op, nullptr);
  EXPECT_EQ(op->bits, 4);
  EXPECT_EQ(op->block, 16);
  EXPECT_EQ(to_text(graph->type(node.outputs[0])), "f32[2,3]");
  const Tensor& zeros = graph->value(node.inputs[3]).constant;
  for (int64_t i = 0; i < zeros.count(); ++i) EXPECT_EQ(zeros.at(i), 8);
}

// Packed zero points, two to a byte, and a bias; older exporters write scales and zero points flat.
TEST(MatMulNBits, ZeroPointsAreUnpacked) {
  NBits m;
  m.bytes_of("zeros", {6}, 6);  // 0x00 0x25, 0x4a 0x6f, 0x94 0xb9
  m.product->add_input("zeros");
  m.product->add_input("");
  m.product->add_input("bias");
  m.weight("bias", {3});
  m.graph().mutable_initializer(1)->clear_dims();
  m.graph().mutable_initializer(1)->add_dims(9);
  const auto graph = m.import();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const Node& node = graph->node(graph->order().back());
  ASSERT_EQ(node.inputs.size(), 5u);
  EXPECT_EQ(graph->value(node.inputs[3]).constant.to_ints(),
            (std::vector<int64_t>{0x0, 0x0, 0x5, 0xa, 0x4, 0xf, 0x4, 0x9, 0x9}));
}

TEST(MatMulNBits, WhatCannotBeIsNamed) {
  const auto with = [](const char* name, int64_t value) {
    NBits m;
    m.set(name, value);
    return m;
  };
  with("bits", 2).expect_error(Code::unsupported, "weights of 2 bits");
  with("block_size", 24).expect_error(Code::invalid, "'block_size' is 24");
  with("block_size", 8).expect_error(Code::invalid, "'block_size' is 8");
  with("block_size", 32).expect_error(Code::invalid, "B is [3,3,8], expected [3,2,16]");
  with("K", 48).expect_error(Code::invalid, "A is f32[2,40] for K = 48");
  with("N", 4).expect_error(Code::invalid, "B is [3,3,8], expected [4,3,8]");
  with("N", -1).expect_error(Code::invalid, "N and K are -1 and 40");
  with("weight_prepacked", 1).expect_error(Code::unsupported, "weight_prepacked");
  NBits zeros;
  zeros.bytes_of("zeros", {3, 3}, 9);
  zeros.product->add_input("zeros");
  zeros.expect_error(Code::invalid, "zero_points is [3,3], expected [3,2]");
  NBits order;
  order.product->add_input("");
  order.product->add_input("B");
  order.expect_error(Code::unsupported, "g_idx");
  NBits open;
  open.product->set_input(2, "s");
  open.input("s", {3, 3});
  open.expect_error(Code::unsupported, "scales is not a constant");
}

}  // namespace
}  // namespace hone
