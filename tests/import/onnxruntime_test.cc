// ONNX Runtime's own operators, against ONNX's that mean the same.
#include <gtest/gtest.h>

#include <cmath>

#include "import/model_builder.h"
#include "import/onnx/model.h"

namespace hone {
namespace {

using testing::ModelBuilder;

constexpr const char* kDomain = "com.microsoft";

Result<Graph> import(const ModelBuilder& m) {
  const std::string text = m.bytes();
  return import_onnx_bytes(std::as_bytes(std::span(text)), ".", {});
}

struct Attribute {
  const char* name;
  std::vector<int64_t> ints;  // one: an integer
  float real = 0;             // without any: this
};

// A model under construction. Constants are made where they are first named: "s0.5" is a scale, "z7" a zero point of
// u8, "i64:1,2" a vector of i64.
class Model {
 public:
  Model() {
    auto* entry = builder.model.add_opset_import();
    entry->set_domain(kDomain);
    entry->set_version(1);
    for (const char* name : {"a", "b", "c"}) builder.input(name, {2, 4, 6, 6}, onnx::TensorProto::UINT8);
    for (const char* name : {"f", "g"}) builder.input(name, {3, 8});
    builder.input("q", {3, 8}, onnx::TensorProto::UINT8);
    builder.input("cond", {6, 1}, onnx::TensorProto::BOOL);
  }

  void node(const char* op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
            const std::vector<Attribute>& attributes = {}, const char* domain = "") {
    auto& n = *builder.graph().add_node();
    n.set_op_type(op);
    n.set_domain(domain);
    for (const std::string& name : inputs) {
      n.add_input(name);
      define(name);
    }
    for (const std::string& name : outputs) n.add_output(name);
    for (const Attribute& a : attributes) {
      auto& attribute = ModelBuilder::attr(n, a.name,
                                           a.ints.empty()       ? onnx::AttributeProto::FLOAT
                                           : a.ints.size() == 1 ? onnx::AttributeProto::INT
                                                                : onnx::AttributeProto::INTS);
      if (a.ints.empty()) attribute.set_f(a.real);
      else if (a.ints.size() == 1) attribute.set_i(a.ints[0]);
      else attribute.mutable_ints()->Assign(a.ints.begin(), a.ints.end());
    }
  }
  void own(const char* op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
           const std::vector<Attribute>& attributes = {}) {
    node(op, inputs, outputs, attributes, kDomain);
  }
  void dequantize(const char* from, const char* scale, const char* zero, const char* to, int64_t axis = 1) {
    node("DequantizeLinear", {from, scale, zero}, {to}, {{"axis", {axis}}});
  }
  void quantize(const char* from, const char* scale, const char* zero) {
    node("QuantizeLinear", {from, scale, zero}, {"y"});
  }

  onnx::TensorProto& constant(const std::string& name, int type, const std::vector<int64_t>& dims) {
    auto& t = *builder.graph().add_initializer();
    t.set_name(name);
    t.set_data_type(type);
    for (int64_t d : dims) t.add_dims(d);
    return t;
  }
  void bytes(const std::string& name, const std::vector<int64_t>& dims, bool is_signed = true) {
    auto& t = constant(name, is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8, dims);
    const int64_t count = dims.size() == 1 ? dims[0] : dims[0] * dims[1];
    for (int64_t i = 0; i < count; ++i) t.add_int32_data(static_cast<int32_t>((i * 37 + 11) % 256) - 128 * is_signed);
  }
  void floats(const std::string& name, const std::vector<float>& values) {
    auto& t = constant(name, onnx::TensorProto::FLOAT, {static_cast<int64_t>(values.size())});
    for (float v : values) t.add_float_data(v);
  }
  void ids(const std::string& name, const std::vector<int64_t>& dims, int type = onnx::TensorProto::INT32) {
    auto& t = constant(name, type, dims);
    for (int64_t i = 0; i < dims[0] * dims[1]; ++i) t.add_int32_data(static_cast<int32_t>(i * 3 % 5));
  }

  Result<Tensors> run(const char* output = "y") const {
    ModelBuilder m = builder;
    m.output(output);
    HONE_TRY(const Graph graph, import(m));
    Tensors inputs;
    for (ValueId v : graph.inputs()) {
      const TensorType& type = graph.type(v);
      Tensor t(type.dtype, *type.shape.concrete());
      const auto seed = static_cast<int64_t>(inputs.size());
      for (int64_t i = 0; i < t.count(); ++i) {
        const int64_t n = (i * i * 31 + i * 7 + seed * 91) % 256;
        if (type.dtype == DType::f32) t.set(i, static_cast<double>(n - 128) / 64);
        else t.set_int(i, type.dtype == DType::boolean ? n % 2 : n);
      }
      inputs.push_back(t);
    }
    return interpret(graph, inputs);
  }

  ModelBuilder builder;

 private:
  void define(const std::string& name) {
    for (const auto& t : builder.graph().initializer())
      if (t.name() == name) return;
    if (name.starts_with("s0") || name.starts_with("s1")) {
      constant(name, onnx::TensorProto::FLOAT, {}).add_float_data(std::stof(name.substr(1)));
    } else if (name.starts_with("z")) {
      constant(name, onnx::TensorProto::UINT8, {}).add_int32_data(std::stoi(name.substr(1)));
    }
  }
};

void expect_same(const Model& own, const Model& standard, double within = 0, const char* output = "y") {
  const auto got = own.run(output), want = standard.run(output);
  ASSERT_TRUE(got.ok()) << got.status().message();
  ASSERT_TRUE(want.ok()) << want.status().message();
  ASSERT_EQ((*got)[0].type(), (*want)[0].type());
  ASSERT_EQ((*got)[0].dims(), (*want)[0].dims());
  double low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < (*want)[0].count(); ++i) {
    const double value = (*want)[0].at(i);
    ASSERT_NEAR((*got)[0].at(i), value, within * std::max(1.0, std::fabs(value))) << i;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  EXPECT_GT(high - low, 1e-3) << "a test of nothing";
}

// An operator of one quantised input and its float one.
void check_unary(const char* op, const char* real, const std::vector<Attribute>& attributes,
                 const std::vector<Attribute>& real_attributes, const std::vector<std::string>& more = {}) {
  Model own, standard;
  own.own(op, {"a", "s0.02", "z120", "s0.01", "z3"}, {"y"}, attributes);
  standard.dequantize("a", "s0.02", "z120", "x");
  std::vector<std::string> inputs{"x"};
  inputs.insert(inputs.end(), more.begin(), more.end());
  if (!more.empty()) {
    auto& t = standard.constant(more[0], onnx::TensorProto::INT64, {2});
    for (int64_t axis : {2, 3}) t.add_int64_data(axis);
  }
  standard.node(real, inputs, {"r"}, real_attributes);
  standard.quantize("r", "s0.01", "z3");
  SCOPED_TRACE(op);
  expect_same(own, standard);
}

TEST(OnnxRuntime, QuantisedFunctions) {
  check_unary("QLinearSigmoid", "Sigmoid", {}, {});
  check_unary("QLinearLeakyRelu", "LeakyRelu", {{"alpha", {}, 0.2f}}, {{"alpha", {}, 0.2f}});
  check_unary("QLinearLeakyRelu", "LeakyRelu", {}, {});
  check_unary("QLinearSoftmax", "Softmax", {{"axis", {1}}, {"opset", {13}}}, {{"axis", {1}}});
  check_unary("QLinearSoftmax", "Softmax", {{"axis", {3}}, {"opset", {11}}}, {{"axis", {3}}});
  check_unary("QLinearGlobalAveragePool", "GlobalAveragePool", {}, {});
  check_unary("QLinearAveragePool", "AveragePool",
              {{"kernel_shape", {3, 3}}, {"pads", {1, 1, 1, 1}}, {"strides", {2, 2}}, {"count_include_pad", {1}}},
              {{"kernel_shape", {3, 3}}, {"pads", {1, 1, 1, 1}}, {"strides", {2, 2}}, {"count_include_pad", {1}}});
  check_unary("QLinearReduceMean", "ReduceMean", {{"axes", {2, 3}}, {"keepdims", {0}}}, {{"keepdims", {0}}}, {"axes"});
}

TEST(OnnxRuntime, QuantisedArithmetic) {
  for (const auto& [op, real] : {std::pair("QLinearAdd", "Add"), std::pair("QLinearMul", "Mul")}) {
    Model own, standard;
    own.own(op, {"a", "s0.02", "z120", "b", "s0.03", "z7", "s0.05", "z90"}, {"y"});
    standard.dequantize("a", "s0.02", "z120", "x");
    standard.dequantize("b", "s0.03", "z7", "x2");
    standard.node(real, {"x", "x2"}, {"r"});
    standard.quantize("r", "s0.05", "z90");
    SCOPED_TRACE(op);
    expect_same(own, standard);
  }
}

// Zero points that are left out are 0, of the inputs' type.
TEST(OnnxRuntime, NoZeroPoints) {
  Model own, standard;
  own.own("QLinearAdd", {"a", "s0.02", "", "b", "s0.03", "", "s0.05"}, {"y"});
  standard.dequantize("a", "s0.02", "z0", "x");
  standard.dequantize("b", "s0.03", "z0", "x2");
  standard.node("Add", {"x", "x2"}, {"r"});
  standard.quantize("r", "s0.05", "z0");
  expect_same(own, standard);
}

TEST(OnnxRuntime, ConcatAndWhere) {
  Model own, standard;
  own.own("QLinearConcat", {"s0.05", "z90", "a", "s0.02", "z120", "b", "s0.03", "z7", "c", "s0.02", "z1"}, {"y"},
          {{"axis", {1}}});
  standard.dequantize("a", "s0.02", "z120", "x");
  standard.dequantize("b", "s0.03", "z7", "x2");
  standard.dequantize("c", "s0.02", "z1", "x3");
  standard.node("Concat", {"x", "x2", "x3"}, {"r"}, {{"axis", {1}}});
  standard.quantize("r", "s0.05", "z90");
  expect_same(own, standard);

  Model choice, real;
  choice.own("QLinearWhere", {"cond", "a", "s0.02", "z120", "b", "s0.03", "z7", "s0.05", "z90"}, {"y"});
  real.dequantize("a", "s0.02", "z120", "x");
  real.dequantize("b", "s0.03", "z7", "x2");
  real.node("Where", {"cond", "x", "x2"}, {"r"});
  real.quantize("r", "s0.05", "z90");
  expect_same(choice, real);
}

// alpha, C and the result's scale are there or not; f32 results are rounded in another order.
TEST(OnnxRuntime, QGemm) {
  for (bool transposed : {false, true}) {
    for (const char* c : {"", "bias", "row"}) {
      for (bool quantised : {false, true}) {
        Model own, standard;
        for (Model* m : {&own, &standard}) {
          m->bytes("w", transposed ? std::vector<int64_t>{5, 8} : std::vector<int64_t>{8, 5});
          m->floats("ws", {0.01f, 0.02f, 0.03f, 0.015f, 0.025f});
          m->constant("wz", onnx::TensorProto::INT8, {5});
          m->builder.graph().mutable_initializer()->rbegin()->mutable_int32_data()->Resize(5, 0);
          auto& bias = m->constant("bias", onnx::TensorProto::INT32, {5});
          auto& row = m->constant("row", onnx::TensorProto::INT32, {1, 5});
          for (int32_t v : {100, -2000, 30, 4000, 500}) {
            bias.add_int32_data(v);
            row.add_int32_data(v);
          }
        }
        std::vector<std::string> inputs{"q", "s0.02", "z120", "w", "ws", "wz", c};
        if (quantised) inputs.insert(inputs.end(), {"s0.05", "z90"});
        own.own("QGemm", inputs, {"y"}, {{"alpha", {}, 0.5f}, {"transB", {transposed ? 1 : 0}}});
        standard.dequantize("q", "s0.02", "z120", "x");
        standard.dequantize("w", "ws", "wz", "x2", transposed ? 0 : 1);
        standard.node("Gemm", {"x", "x2"}, {"p"}, {{"transB", {transposed ? 1 : 0}}});
        const char* sum = "p";
        if (*c != 0) {
          standard.node("Mul", {"ws", "s0.02"}, {"cs"});
          standard.node("Cast", {c}, {"cf"}, {{"to", {onnx::TensorProto::FLOAT}}});
          standard.node("Mul", {"cf", "cs"}, {"cd"});
          standard.node("Add", {"p", "cd"}, {"sum"});
          sum = "sum";
        }
        standard.node("Mul", {sum, "s0.5"}, {quantised ? "r" : "y"});
        if (quantised) standard.quantize("r", "s0.05", "z90");
        SCOPED_TRACE(fmt::format("transposed {}, c '{}', quantised {}", transposed, c, quantised));
        expect_same(own, standard, quantised ? 0 : 1e-6);
      }
    }
  }
}

TEST(OnnxRuntime, DynamicProducts) {
  for (bool bias : {false, true}) {
    Model own, standard, apart;
    for (Model* m : {&own, &standard, &apart}) {
      m->bytes("w", {8, 5}, false);
      m->floats("ws", {0.01f, 0.02f, 0.03f, 0.015f, 0.025f});
      m->bytes("wz", {5}, false);
      m->floats("bias", {1, -2, 3, -4, 5});
    }
    own.own("DynamicQuantizeMatMul", {"f", "w", "ws", "wz", bias ? "bias" : ""}, {"y"});
    for (Model* m : {&standard, &apart}) m->node("DynamicQuantizeLinear", {"f"}, {"v", "vs", "vz"});
    apart.own("MatMulIntegerToFloat", {"v", "w", "vs", "ws", "vz", "wz", bias ? "bias" : ""}, {"y"});
    standard.node("MatMulInteger", {"v", "w", "vz", "wz"}, {"sums"});
    standard.node("Cast", {"sums"}, {"real"}, {{"to", {onnx::TensorProto::FLOAT}}});
    standard.node("Mul", {"vs", "ws"}, {"scale"});
    standard.node("Mul", {"real", "scale"}, {bias ? "r" : "y"});
    if (bias) standard.node("Add", {"r", "bias"}, {"y"});
    expect_same(own, standard);
    expect_same(apart, standard);
  }
}

TEST(OnnxRuntime, Gelus) {
  for (const char* op : {"Gelu", "FastGelu", "BiasGelu"}) {
    for (bool bias : {false, true}) {
      if (bias != (op == std::string_view("BiasGelu")) && op != std::string_view("FastGelu")) continue;
      const bool tanh = op == std::string_view("FastGelu");
      Model own, standard;
      for (Model* m : {&own, &standard}) m->floats("bias", {1, -2, 3, -4, 5, -1, 0, 2});
      own.own(op, bias ? std::vector<std::string>{"f", "bias"} : std::vector<std::string>{"f"}, {"y"});
      const char* x = "f";
      if (bias) {
        standard.node("Add", {"f", "bias"}, {"x"});
        x = "x";
      }
      if (!tanh) {
        standard.node("Div", {x, "s1.41421356237"}, {"d"});
        standard.node("Erf", {"d"}, {"t"});
      } else {
        standard.node("Mul", {x, x}, {"x2"});
        standard.node("Mul", {"x2", "s0.044715"}, {"x3"});
        standard.node("Add", {"x3", "s1"}, {"x4"});
        standard.node("Mul", {"x4", x}, {"x5"});
        standard.node("Mul", {"x5", "s0.7978845608"}, {"x6"});
        standard.node("Tanh", {"x6"}, {"t"});
      }
      standard.node("Add", {"t", "s1"}, {"u"});
      standard.node("Mul", {"u", x}, {"v"});
      standard.node("Mul", {"v", "s0.5"}, {"y"});
      SCOPED_TRACE(op);
      expect_same(own, standard, 1e-6);
    }
  }
  Model own, standard;
  own.own("QuickGelu", {"f"}, {"y"}, {{"alpha", {}, 1.5f}});
  standard.node("Mul", {"f", "s1.5"}, {"d"});
  standard.node("Sigmoid", {"d"}, {"u"});
  standard.node("Mul", {"u", "f"}, {"y"});
  expect_same(own, standard);
}

TEST(OnnxRuntime, FusedMatMul) {
  Model own, standard;
  own.own("FusedMatMul", {"f", "g"}, {"y"}, {{"alpha", {}, 0.25f}, {"transB", {1}}});
  standard.node("Transpose", {"g"}, {"t"}, {{"perm", {1, 0}}});
  standard.node("MatMul", {"f", "t"}, {"p"});
  standard.node("Mul", {"p", "s0.25"}, {"y"});
  expect_same(own, standard, 1e-6);
}

TEST(OnnxRuntime, SkipNorm) {
  Model own, standard;
  for (Model* m : {&own, &standard}) {
    m->floats("gamma", {1, 2, 3, 4, 5, 6, 7, 8});
    m->floats("beta", {1, -2, 3, -4, 5, -6, 7, -8});
  }
  own.own("SkipLayerNormalization", {"f", "g", "gamma", "beta", "beta"}, {"y", "", "", "sum"},
          {{"epsilon", {}, 0.001f}});
  standard.node("Add", {"f", "g"}, {"s"});
  standard.node("Add", {"s", "beta"}, {"sum"});
  standard.node("LayerNormalization", {"sum", "gamma", "beta"}, {"y"}, {{"axis", {-1}}, {"epsilon", {}, 0.001f}});
  expect_same(own, standard, 1e-6);
  expect_same(own, standard, 0, "sum");
}

TEST(OnnxRuntime, EmbedNorm) {
  Model own, standard;
  for (Model* m : {&own, &standard}) {
    m->ids("words", {2, 4});
    m->ids("segments", {2, 4});
    m->ids("mask", {2, 4});
    m->floats("gamma", {1, 2, 3});
    m->floats("beta", {1, -2, 3});
    for (const char* table : {"word", "place", "segment"}) {
      auto& t = m->constant(table, onnx::TensorProto::FLOAT, {5, 3});
      for (int i = 0; i < 15; ++i) t.add_float_data(static_cast<float>((i * 7 + table[0]) % 11));
    }
    auto& places = m->constant("places", onnx::TensorProto::INT64, {4});
    for (int64_t i : {0, 1, 2, 3}) places.add_int64_data(i);
    auto& axis = m->constant("axis", onnx::TensorProto::INT64, {1});
    axis.add_int64_data(1);
  }
  own.own("EmbedLayerNormalization", {"words", "segments", "word", "place", "segment", "gamma", "beta", "mask"},
          {"y", "counts"});
  standard.node("Gather", {"word", "words"}, {"e1"});
  standard.node("Gather", {"place", "places"}, {"e2"});
  standard.node("Gather", {"segment", "segments"}, {"e3"});
  standard.node("Add", {"e1", "e2"}, {"e4"});
  standard.node("Add", {"e4", "e3"}, {"e5"});
  standard.node("LayerNormalization", {"e5", "gamma", "beta"}, {"y"}, {{"axis", {-1}}, {"epsilon", {}, 1e-12f}});
  standard.node("ReduceSum", {"mask", "axis"}, {"counts"}, {{"keepdims", {0}}});
  expect_same(own, standard, 1e-6);
  expect_same(own, standard, 0, "counts");
}

// What is not done is said, all at once.
TEST(OnnxRuntime, Refusals) {
  Model m;
  m.floats("gamma", {1, 2, 3, 4, 5, 6, 7, 8});
  m.own("QLinearSoftmax", {"a", "s0.02", "z120", "s0.01", "z3"}, {"o1"}, {{"axis", {1}}, {"opset", {11}}});
  m.own("QLinearAveragePool", {"a", "s0.02", "z120", "s0.01", "z3"}, {"o2"},
        {{"kernel_shape", {3, 3}}, {"channels_last", {1}}});
  m.own("FusedMatMul", {"f", "g"}, {"o3"}, {{"transBatchA", {1}}});
  m.own("SkipLayerNormalization", {"f", "g", "gamma"}, {"o4", "mean"});
  m.own("QLinearConcat", {"s0.05", "z90", "a", "s0.02"}, {"o5"}, {{"axis", {1}}});
  m.own("QAttention", {"f"}, {"o6"});
  const auto result = m.run("o1");
  ASSERT_FALSE(result.ok());
  for (const char* word : {"softmax of opset 11", "channels-last", "transposed batch dims", "outputs for training",
                           "4 inputs", "QAttention"})
    EXPECT_NE(result.status().message().find(word), std::string::npos) << word << ": " << result.status().message();
}

}  // namespace
}  // namespace hone
