#include "import/onnx/model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "folder_test.h"
#include "import/model_builder.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using testing::ModelBuilder;
using testing::small_net;

Result<Graph> import(const std::string& bytes, const OnnxOptions& options = {}, const std::string& folder = ".") {
  return import_onnx_bytes(std::as_bytes(std::span(bytes)), folder, options);
}

void expect_error(const ModelBuilder& m, Code code, std::initializer_list<const char*> words,
                  const std::string& folder = ".") {
  const auto graph = import(m.bytes(), {}, folder);
  ASSERT_FALSE(graph.ok()) << to_text(*graph);
  EXPECT_EQ(graph.status().code(), code) << graph.status().message();
  for (const char* word : words)
    EXPECT_NE(graph.status().message().find(word), std::string::npos) << graph.status().message();
}

TEST(Import, ASmallNet) {
  const auto graph = import(small_net().bytes());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_TRUE(verify(*graph).ok());
  EXPECT_EQ(to_text(graph->type(graph->outputs()[0])), "f32[1,5]");
}

TEST(Import, EveryTruncationIsAnErrorOrAGraph) {
  const std::string bytes = small_net().bytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto graph = import(bytes.substr(0, length));
    if (graph.ok()) {
      EXPECT_TRUE(verify(*graph).ok()) << length;
    }
  }
}

TEST(Import, FlippedBitsAreAnErrorOrAGraph) {
  const std::string bytes = small_net().bytes();
  std::mt19937 random(3);
  for (size_t i = 0; i < 4000; ++i) {
    std::string changed = bytes;
    for (size_t k = 0; k <= i % 3; ++k) changed[random() % changed.size()] ^= static_cast<char>(1 << (random() % 8));
    const auto graph = import(changed);
    if (graph.ok()) {
      EXPECT_TRUE(verify(*graph).ok()) << i;
    }
    EXPECT_EQ(graph.ok(), graph.status().message().empty());
  }
}

TEST(Import, NotAModel) {
  for (const std::string& text :
       {std::string(), std::string("hello world"), std::string(100, '\0'), std::string("\x08\x09")})
    EXPECT_EQ(import(text).status().code(), Code::invalid);
  EXPECT_EQ(import_onnx_file("/no/such/file.onnx").status().code(), Code::invalid);
}

TEST(Import, NoOutputs) {
  ModelBuilder m;
  m.input("x", {1});
  m.node("Relu", {"x"}, {"y"});
  expect_error(m, Code::invalid, {"the model has no outputs"});
}

TEST(Import, Opsets) {
  expect_error(ModelBuilder(20), Code::invalid, {"graph"});
  ModelBuilder old(5), future(99);
  for (ModelBuilder* m : {&old, &future}) {
    m->input("x", {1});
    m->output("x");
  }
  expect_error(old, Code::unsupported, {"opset 5"});
  expect_error(future, Code::unsupported, {"opset 99"});
}

TEST(Import, CyclesAndUndefinedNames) {
  ModelBuilder cycle;
  cycle.input("x", {2});
  cycle.node("Add", {"x", "b"}, {"a"});
  cycle.node("Relu", {"a"}, {"b"});
  cycle.output("b");
  expect_error(cycle, Code::invalid, {"cycle"});

  ModelBuilder self;
  self.node("Relu", {"a"}, {"a"});
  self.output("a");
  expect_error(self, Code::invalid, {"cycle"});

  ModelBuilder missing = small_net();
  missing.graph().mutable_initializer()->DeleteSubrange(0, 1);
  expect_error(missing, Code::invalid, {"'w'", "n_c"});

  ModelBuilder output;
  output.input("x", {2});
  output.output("nothing");
  expect_error(output, Code::invalid, {"'nothing'"});
}

TEST(Import, NodesNeedNotBeSorted) {
  ModelBuilder m;
  m.input("x", {2});
  m.node("Exp", {"a"}, {"b"});
  m.node("Relu", {"x"}, {"a"});
  m.output("b");
  EXPECT_TRUE(import(m.bytes()).ok());
}

TEST(Import, MissingInputsOfAnOpAreAnError) {
  for (const char* op : {"Relu",
                         "Add",
                         "Conv",
                         "MatMul",
                         "Gemm",
                         "Reshape",
                         "Shape",
                         "Transpose",
                         "Concat",
                         "Softmax",
                         "If",
                         "Loop",
                         "Gather",
                         "MaxPool",
                         "BatchNormalization",
                         "Resize",
                         "LSTM",
                         "Cast",
                         "Clip",
                         "Slice",
                         "Split",
                         "Where",
                         "Einsum",
                         "TopK",
                         "Pad",
                         "ReduceSum",
                         "Expand",
                         "LayerNormalization",
                         "QuantizeLinear",
                         "Size",
                         "Scan",
                         "Attention",
                         "RotaryEmbedding"}) {
    ModelBuilder none, empty;
    none.node(op, {}, {"y"});
    none.output("y");
    EXPECT_FALSE(import(none.bytes()).ok()) << op;
    empty.node(op, {"", "", ""}, {"y"});
    empty.output("y");
    EXPECT_FALSE(import(empty.bytes()).ok()) << op;
  }
}

TEST(Import, HeadsDivideTheWidth) {
  ModelBuilder m(23);
  m.input("x", {1, 4, 24});
  auto& node = m.node("Attention", {"x", "x", "x"}, {"y"});
  for (const char* name : {"q_num_heads", "kv_num_heads"})
    ModelBuilder::attr(node, name, onnx::AttributeProto::INT).set_i(5);
  m.output("y");
  expect_error(m, Code::invalid, {"n_y", "Attention", "[1,4,24]"});
}

TEST(Import, AllUnknownOpsAreListedAtOnce) {
  ModelBuilder m;
  m.input("x", {2});
  m.node("Frobnicate", {"x"}, {"a"});
  m.node("Frobnicate", {"a"}, {"b"});
  m.node("Twist", {"b"}, {"c"}, "com.example");
  m.node("Relu", {"c"}, {"y"});
  m.output("y");
  expect_error(m, Code::unsupported, {"Frobnicate", "n_a", "n_b", "2 nodes", "com.example::Twist", "n_c"});
}

TEST(Import, TensorsThatCannotBe) {
  ModelBuilder negative = small_net();
  negative.graph().mutable_initializer(0)->set_dims(1, -2);
  expect_error(negative, Code::invalid, {"negative"});

  ModelBuilder huge = small_net();  // 100 GB in a file of 1 kB
  huge.graph().mutable_initializer(0)->set_dims(0, int64_t{100} << 30);
  expect_error(huge, Code::invalid, {"'w'"});

  ModelBuilder overflow = small_net();
  for (int d = 0; d < 4; ++d) overflow.graph().mutable_initializer(0)->set_dims(d, int64_t{1} << 40);
  expect_error(overflow, Code::invalid, {"too large"});

  ModelBuilder type = small_net();
  type.graph().mutable_initializer(0)->set_data_type(77);
  expect_error(type, Code::unsupported, {"'w'", "77"});

  ModelBuilder raw = small_net();
  raw.graph().mutable_initializer(0)->clear_float_data();
  raw.graph().mutable_initializer(0)->set_raw_data("abc");
  expect_error(raw, Code::invalid, {"'w'", "3 bytes"});

  ModelBuilder input;
  input.input("x", {int64_t{1} << 40, int64_t{1} << 40});
  input.node("Relu", {"x"}, {"y"});
  input.output("y");
  expect_error(input, Code::invalid, {"'x'", "too large"});

  ModelBuilder dim;
  dim.input("x", {-5});
  dim.output("x");
  expect_error(dim, Code::invalid, {"'x'", "negative"});

  ModelBuilder sparse;
  auto& s = *sparse.graph().add_sparse_initializer();
  s.mutable_values()->set_name("s");
  s.mutable_values()->set_data_type(onnx::TensorProto::FLOAT);
  s.mutable_values()->add_dims(1);
  s.mutable_values()->add_float_data(1);
  s.mutable_indices()->set_data_type(onnx::TensorProto::INT64);
  s.mutable_indices()->add_dims(1);
  s.mutable_indices()->add_int64_data(0);
  s.add_dims(int64_t{100} << 30);
  sparse.output("s");
  expect_error(sparse, Code::unsupported, {"'s'"});
}

TEST(Import, TruthsAreZeroOrOne) {
  const auto model = [](auto&& fill) {
    ModelBuilder m;
    auto& t = *m.graph().add_initializer();
    t.set_name("t");
    t.set_data_type(onnx::TensorProto::BOOL);
    t.add_dims(3);
    fill(t);
    m.output("t");
    return m;
  };
  for (const ModelBuilder& m :
       {model([](auto& t) { t.set_raw_data(std::string("\x00\x01\x02", 3)); }), model([](auto& t) {
          for (int v : {0, 1, 256}) t.add_int32_data(v);
        })}) {
    const auto graph = import(m.bytes());
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    const auto* bytes = static_cast<const uint8_t*>(graph->value(graph->outputs()[0]).constant.raw());
    EXPECT_EQ(std::vector<int>(bytes, bytes + 3), (std::vector<int>{0, 1, 1}));
  }
}

// Dims that nobody can step through, though the tensor holds nothing.
TEST(Import, AnEmptyConstantOfEndlessDimsIsNotFolded) {
  ModelBuilder m;
  auto& shape = *m.graph().add_initializer();
  shape.set_name("shape");
  shape.set_data_type(onnx::TensorProto::INT64);
  shape.add_dims(2);
  shape.add_int64_data(int64_t{1} << 60);
  shape.add_int64_data(0);
  m.node("ConstantOfShape", {"shape"}, {"x"});
  m.node("Concat", {"x", "x"}, {"y"});
  ModelBuilder::attr(*m.graph().mutable_node(1), "axis", onnx::AttributeProto::INT).set_i(1);
  m.output("y");
  const auto graph = import(m.bytes());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(graph->node_count(), 2u);
}

TEST(Import, AHugeConstantIsNotFolded) {
  ModelBuilder m;
  auto& shape = *m.graph().add_initializer();
  shape.set_name("shape");
  shape.set_data_type(onnx::TensorProto::INT64);
  shape.add_dims(1);
  shape.add_int64_data(int64_t{100} << 30);
  m.node("ConstantOfShape", {"shape"}, {"y"});
  m.output("y");
  const auto graph = import(m.bytes());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(graph->node_count(), 1u);
}

class ExternalData : public testing::FolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(FolderTest::SetUp());
    fs::create_directory(folder_ / "model");
    for (const char* file : {"secret", "model/data"}) std::ofstream(folder_ / file) << std::string(64, 'x');
  }
  ModelBuilder model(const std::string& location, const std::string& offset = "0", const std::string& length = "") {
    ModelBuilder m;
    auto& t = m.weight("w", {4}, false);
    t.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto entry = [&](const char* key, const std::string& value) {
      auto* e = t.add_external_data();
      e->set_key(key);
      e->set_value(value);
    };
    entry("location", location);
    entry("offset", offset);
    if (!length.empty()) entry("length", length);
    m.output("w");
    return m;
  }
  std::string folder() const { return (folder_ / "model").string(); }
};

TEST_F(ExternalData, IsReadFromBesideTheModel) {
  const auto graph = import(model("data", "16", "16").bytes(), {}, folder());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(graph->value(graph->outputs()[0]).constant.bytes(), 16u);
}

TEST_F(ExternalData, MayNotLeaveTheFolder) {
  for (const std::string& path : {std::string("../secret"), std::string("a/../../secret"),
                                  (folder_ / "secret").string(), std::string(), std::string("..")})
    expect_error(model(path), Code::invalid, {"'w'", "beside the model"}, folder());
}

TEST_F(ExternalData, HoldsNoStrings) {
  ModelBuilder m = model("data");
  m.model.mutable_graph()->mutable_initializer(0)->set_data_type(onnx::TensorProto::STRING);
  expect_error(m, Code::invalid, {"'w'", "strings"}, folder());
}

TEST_F(ExternalData, MustBeThere) {
  expect_error(model("missing"), Code::invalid, {"missing"}, folder());
  expect_error(model("."), Code::invalid, {"regular"}, folder());
  expect_error(model("data", "60"), Code::invalid, {"'w'", "ends before"}, folder());
  expect_error(model("data", "18446744073709551600"), Code::invalid, {"'w'"}, folder());
  expect_error(model("data", "-1"), Code::invalid, {"-1"}, folder());
  expect_error(model("data", "0", "8"), Code::invalid, {"'w'", "8"}, folder());
}

onnx::FunctionProto& function(ModelBuilder& m, const std::string& name) {
  auto& f = *m.model.add_functions();
  f.set_domain("local");
  f.set_name(name);
  f.add_input("a");
  f.add_output("b");
  f.add_opset_import()->set_version(20);
  return f;
}

ModelBuilder calls(const char* name) {
  ModelBuilder m;
  m.input("x", {2});
  m.node(name, {"x"}, {"y"}, "local");
  m.output("y");
  return m;
}

TEST(Functions, AreExpandedWithTheirAttributes) {
  ModelBuilder m = calls("Leak");
  auto& f = function(m, "Leak");
  f.add_attribute("slope");
  auto& leaky = ModelBuilder::node(f, "LeakyRelu", {"a"}, {"b"});
  ModelBuilder::attr(leaky, "alpha", onnx::AttributeProto::FLOAT).set_ref_attr_name("slope");
  ModelBuilder::attr(*m.graph().mutable_node(0), "slope", onnx::AttributeProto::FLOAT).set_f(0.5f);
  const auto graph = import(m.bytes());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const float x[] = {-2, 3};
  const auto y = interpret(*graph, std::vector{Tensor::of<float>(DType::f32, {2}, x)});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ((*y)[0].to_doubles(), (std::vector<double>{-1, 3}));
}

TEST(Functions, RecursionEndsInAnError) {
  ModelBuilder m = calls("F");
  auto& f = function(m, "F");
  ModelBuilder::node(f, "F", {"a"}, {"t"}, "local");
  ModelBuilder::node(f, "F", {"a"}, {"b"}, "local");  // two calls: 2^32 expansions, were they made
  expect_error(m, Code::unsupported, {"F"});
}

TEST(Functions, DoublingEndsInAnError) {
  ModelBuilder m = calls("F0");
  for (int level = 0; level < 30; ++level) {
    auto& f = function(m, "F" + std::to_string(level));
    const std::string next = level == 29 ? "Relu" : "F" + std::to_string(level + 1);
    ModelBuilder::node(f, next, {"a"}, {"t"}, level == 29 ? "" : "local");
    ModelBuilder::node(f, next, {"t"}, {"b"}, level == 29 ? "" : "local");
  }
  expect_error(m, Code::unsupported, {"functions"});
}

TEST(Functions, AFailureInsideIsReportedOnce) {
  ModelBuilder m = calls("F");
  auto& f = function(m, "F");
  ModelBuilder::node(f, "Mystery", {"a"}, {"b"});
  m.node("Relu", {"y"}, {"z"});
  m.output("z");
  const auto graph = import(m.bytes());
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.status().message(), "op Mystery is not supported (1 node: 'n_b')");
}

onnx::GraphProto* branch(onnx::NodeProto& node, const char* attr) {
  auto* g = ModelBuilder::attr(node, attr, onnx::AttributeProto::GRAPH).mutable_g();
  g->set_name(attr);
  return g;
}

// Ifs inside each other, `depth` deep; the innermost branch is relu(x).
void nest(onnx::GraphProto& g, int depth) {
  g.add_output()->set_name("y");
  if (depth == 0) {
    ModelBuilder::node(g, "Relu", {"x"}, {"y"});
    return;
  }
  auto& node = ModelBuilder::node(g, "If", {"c"}, {"y"});
  nest(*branch(node, "then_branch"), depth - 1);
  auto* other = branch(node, "else_branch");
  ModelBuilder::node(*other, "Exp", {"x"}, {"y"});
  other->add_output()->set_name("y");
}

TEST(Control, BranchesNestAndCapture) {
  for (int depth : {1, 3, 20}) {
    ModelBuilder m;
    m.input("x", {2});
    m.input("c", {}, onnx::TensorProto::BOOL);
    nest(m.graph(), depth);
    const auto graph = import(m.bytes());
    ASSERT_TRUE(graph.ok()) << depth << ": " << graph.status().message();
    const float x[] = {-1, 2};
    Tensor c(DType::boolean, {});
    c.set(0, 1);
    const auto y = interpret(*graph, std::vector{Tensor::of<float>(DType::f32, {2}, x), c});
    ASSERT_TRUE(y.ok()) << y.status().message();
    EXPECT_EQ((*y)[0].to_doubles(), (std::vector<double>{0, 2}));
  }
}

TEST(Control, TooDeepIsAnError) {
  for (int depth : {32, 60, 500}) {
    ModelBuilder m;
    m.input("x", {2});
    m.input("c", {}, onnx::TensorProto::BOOL);
    nest(m.graph(), depth);
    EXPECT_FALSE(import(m.bytes()).ok()) << depth;
  }
}

TEST(Control, ALoopBodyMustFit) {
  ModelBuilder m;
  m.input("x", {2});
  auto& node = m.node("Loop", {"", "", "x"}, {"y"});
  branch(node, "body");
  m.output("y");
  expect_error(m, Code::invalid, {"n_y", "body"});
  ModelBuilder none;
  none.input("x", {2});
  none.node("Loop", {"", "", "x"}, {"y"});
  none.output("y");
  expect_error(none, Code::invalid, {"body"});
}

TEST(Shapes, Overrides) {
  ModelBuilder m;
  m.input("x", {2, 3});
  m.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_param(
      "N");
  m.node("Relu", {"x"}, {"y"});
  m.output("y");
  EXPECT_EQ(to_text(import(m.bytes())->type(import(m.bytes())->inputs()[0])), "f32[N,3]");
  const auto fixed = import(m.bytes(), {.shapes = {{"x", {8, 3}}}});
  ASSERT_TRUE(fixed.ok());
  EXPECT_EQ(to_text(fixed->type(fixed->outputs()[0])), "f32[8,3]");
  EXPECT_FALSE(import(m.bytes(), {.shapes = {{"x", {8}}}}).ok());
  EXPECT_FALSE(import(m.bytes(), {.shapes = {{"x", {-8, 3}}}}).ok());
  EXPECT_FALSE(import(m.bytes(), {.shapes = {{"z", {8}}}}).ok());
}

}  // namespace
}  // namespace hone
