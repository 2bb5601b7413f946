// What an importer would have to guess at is refused.
#include <gtest/gtest.h>

#include "import/model_builder.h"
#include "import/onnx/model.h"

namespace hone {
namespace {

using testing::ModelBuilder;
using testing::small_net;

Result<Graph> import(const ModelBuilder& m) {
  const std::string bytes = m.bytes();
  return import_onnx_bytes(std::as_bytes(std::span(bytes)), ".", {});
}

void expect_invalid(const ModelBuilder& m, std::initializer_list<const char*> words) {
  const auto graph = import(m);
  ASSERT_FALSE(graph.ok()) << to_text(*graph);
  EXPECT_EQ(graph.status().code(), Code::invalid) << graph.status().message();
  for (const char* word : words)
    EXPECT_NE(graph.status().message().find(word), std::string::npos) << graph.status().message();
}

TEST(Strict, NamesThatAreDefinedTwiceAreRefused) {
  ModelBuilder outputs = small_net();
  outputs.node("Neg", {"c"}, {"r"});
  expect_invalid(outputs, {"node 'n_r' (Neg)", "output 'r' is defined twice"});
  ModelBuilder weight = small_net();
  weight.node("Neg", {"c"}, {"m"});
  expect_invalid(weight, {"node 'n_m' (Neg)", "output 'm' is defined twice"});
  ModelBuilder inputs = small_net();
  inputs.input("x", {1, 2, 4, 4});
  expect_invalid(inputs, {"two inputs 'x'"});
  ModelBuilder weights = small_net();
  weights.weight("w", {3, 2, 3, 3});
  expect_invalid(weights, {"two initialisers 'w'"});
}

TEST(Strict, AttributesThatNobodyReadsAreRefused) {
  ModelBuilder m;
  m.input("x", {2, 3});
  ModelBuilder::attr(m.node("Relu", {"x"}, {"y"}), "slope", onnx::AttributeProto::FLOAT).set_f(2);
  m.output("y");
  expect_invalid(m, {"node 'n_y' (Relu)", "attribute 'slope' is unknown in opset 20"});
}

TEST(Strict, AttributesWithoutEffectAreNot) {
  ModelBuilder m;
  m.input("a", {2, 3});
  m.weight("b", {3, 4});
  auto& gemm = m.node("Gemm", {"a", "b"}, {"y"});
  ModelBuilder::attr(gemm, "beta", onnx::AttributeProto::FLOAT).set_f(2);
  m.output("y");
  const auto graph = import(m);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
}

TEST(Strict, ErrorsOfTensorsNameThem) {
  ModelBuilder m = small_net();
  m.graph().mutable_initializer(1)->set_dims(0, -3);
  expect_invalid(m, {"tensor 'm': shape [-3,5] has a negative dim"});
  ModelBuilder offset = small_net();
  auto& tensor = *offset.graph().mutable_initializer(1);
  tensor.set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : {std::pair("location", "data.bin"), std::pair("offset", "-8")}) {
    auto& entry = *tensor.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }
  expect_invalid(offset, {"tensor 'm'", "offset '-8' is not a number of bytes"});
  tensor.mutable_external_data()->RemoveLast();
  expect_invalid(offset, {"tensor 'm'", "data.bin: cannot be opened"});
}

}  // namespace
}  // namespace hone
