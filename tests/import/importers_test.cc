#include "import/onnx/importer.h"

#include <gtest/gtest.h>

#include "import/model_builder.h"
#include "import/onnx/model.h"

namespace hone {
namespace {

using testing::ModelBuilder;

constexpr std::initializer_list<int64_t> kShapes[] = {{}, {6}, {2, 3, 6}, {2, 3, 4, 6}};
constexpr const char* kAttributes[] = {"q_num_heads", "kv_num_heads", "num_heads", "axis", "group", "hidden_size"};

// One node whose inputs are all `x`; none of an op's attributes, or some that seldom fit.
ModelBuilder one_node(const import_onnx::ImporterRow& row, std::initializer_list<int64_t> shape, int type, int inputs,
                      bool attributes) {
  ModelBuilder m(23);
  const std::string domain(row.domain);
  if (!domain.empty()) {
    auto* entry = m.model.add_opset_import();
    entry->set_domain(domain);
    entry->set_version(row.since);
  }
  m.input("x", shape, type);
  auto& node = m.node(std::string(row.op_type), {}, {"y", "z"}, domain);
  for (int i = 0; i < inputs; ++i) node.add_input("x");
  if (attributes)
    for (const char* name : kAttributes) ModelBuilder::attr(node, name, onnx::AttributeProto::INT).set_i(5);
  m.output("y");
  return m;
}

// Mutants of models of ONNX's seldom have the types, ranks and numbers of inputs that an op does not expect.
TEST(Importers, AnyInputsAreAnErrorOrAGraph) {
  for (const import_onnx::ImporterRow& row : import_onnx::importers())
    for (const auto& shape : kShapes)
      for (const int type : {onnx::TensorProto::FLOAT, onnx::TensorProto::INT64, onnx::TensorProto::STRING})
        for (int inputs = 0; inputs < 7; ++inputs)
          for (const bool attributes : {false, true}) {
            const std::string bytes = one_node(row, shape, type, inputs, attributes).bytes();
            const auto graph = import_onnx_bytes(std::as_bytes(std::span(bytes)), ".", {});
            const std::string what =
                fmt::format("{} of {} inputs of rank {} and type {}", row.op_type, inputs, shape.size(), type);
            if (graph.ok()) {
              EXPECT_TRUE(verify(*graph).ok()) << what;
            } else {
              EXPECT_NE(graph.status().code(), Code::internal) << what << ": " << graph.status().message();
            }
          }
}

}  // namespace
}  // namespace hone
