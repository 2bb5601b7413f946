// Products of bytes, as they are imported, against what ONNX defines.
#include <gtest/gtest.h>

#include "import/model_builder.h"
#include "import/onnx/model.h"

namespace hone {
namespace {

using testing::ModelBuilder;

Tensor bytes(DType type, const Dims& dims, int64_t seed) {
  Tensor t(type, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.set_int(i, (i * 37 + seed * 53) % 256 - (type == DType::i8 ? 128 : 0));
  return t;
}

int onnx_type(DType type) { return type == DType::i8 ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8; }

void add_constant(ModelBuilder& m, const std::string& name, const Tensor& t) {
  auto& proto = *m.graph().add_initializer();
  proto.set_name(name);
  proto.set_data_type(onnx_type(t.type()));
  for (int64_t d : t.dims()) proto.add_dims(d);
  for (int64_t i = 0; i < t.count(); ++i) proto.add_int32_data(static_cast<int32_t>(t.int_at(i)));
}

void add_input(ModelBuilder& m, const std::string& name, const Tensor& t) {
  ModelBuilder::value(m.graph().add_input(), name, {}, onnx_type(t.type()));
  auto& shape = *m.graph().mutable_input()->rbegin()->mutable_type()->mutable_tensor_type()->mutable_shape();
  for (int64_t d : t.dims()) shape.add_dim()->set_dim_value(d);
}

Graph import(const ModelBuilder& m) {
  const std::string text = m.bytes();
  auto graph = import_onnx_bytes(std::as_bytes(std::span(text)), ".", {});
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return graph.ok() ? std::move(*graph) : Graph();
}

// How many products of bytes there are, and how many of wider integers.
std::pair<int, int> products(const Graph& g) {
  std::pair<int, int> count;
  for (NodeId id : g.order()) {
    if (g.node(id).op.name() != "MatMul" && g.node(id).op.name() != "Conv") continue;
    ++(size_of(g.type(g.node(id).inputs[0]).dtype) == 1 ? count.first : count.second);
  }
  return count;
}

Tensor result(const Graph& g, const Tensors& inputs) {
  const auto out = interpret(g, inputs);
  EXPECT_TRUE(out.ok()) << out.status().message();
  return out.ok() ? (*out)[0] : Tensor();
}

struct Case {
  DType a = DType::u8, b = DType::i8;
  Dims a_zero = {}, b_zero = {};
  int64_t b_value = 0;     // of b's zero points, the first; each next one is 1 more
  bool dynamic = true;     // a's zero point is an input
  bool dynamic_b = false;  // b's is
  std::pair<int, int> products = {1, 0};
};

Tensor zeros(DType type, const Dims& dims, int64_t first) {
  Tensor t(type, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.set_int(i, first + i);
  return t;
}

void check_matmul(const Case& c) {
  const Tensor a = bytes(c.a, {4, 9}, 1), b = bytes(c.b, {9, 5}, 2);
  const Tensor az = zeros(c.a, c.a_zero, 7), bz = zeros(c.b, c.b_zero, c.b_value);
  ModelBuilder m;
  add_input(m, "a", a);
  Tensors inputs{a};
  const auto add = [&](const char* name, const Tensor& t, bool dynamic) {
    dynamic ? add_input(m, name, t) : add_constant(m, name, t);
    if (dynamic) inputs.push_back(t);
  };
  add("az", az, c.dynamic);
  add("bz", bz, c.dynamic_b);
  add_constant(m, "b", b);
  m.node("MatMulInteger", {"a", "b", "az", "bz"}, {"y"});
  m.output("y");
  const Graph g = import(m);
  EXPECT_EQ(products(g), c.products) << to_text(g);
  const Tensor y = result(g, inputs);
  ASSERT_EQ(y.dims(), (Dims{4, 5}));
  for (int64_t r = 0; r < 4; ++r) {
    for (int64_t col = 0; col < 5; ++col) {
      int64_t want = 0;
      for (int64_t k = 0; k < 9; ++k)
        want += (a.int_at(r * 9 + k) - az.int_at(az.count() > 1 ? r : 0)) *
                (b.int_at(k * 5 + col) - bz.int_at(bz.count() > 1 ? col : 0));
      ASSERT_EQ(y.int_at(r * 5 + col), want) << r << ", " << col;
    }
  }
}

TEST(Integers, MatMul) {
  for (DType a : {DType::u8, DType::i8}) {
    for (bool dynamic : {false, true}) {
      for (const Dims& a_zero : {Dims{}, Dims{1}, Dims{4}}) {
        SCOPED_TRACE(fmt::format("{}, {} zero points, dynamic {}", name(a), element_count(a_zero), dynamic));
        check_matmul({.a = a, .a_zero = a_zero, .dynamic = dynamic});
        check_matmul({.a = a, .b = DType::u8, .a_zero = a_zero, .b_value = 128, .dynamic = dynamic});
        // i8 does not hold these weights without their zero points.
        check_matmul(
            {.a = a, .b = DType::u8, .a_zero = a_zero, .b_value = 100, .dynamic = dynamic, .products = {2, 0}});
        for (DType b : {DType::u8, DType::i8})
          check_matmul(
              {.a = a, .b = b, .a_zero = a_zero, .b_zero = {5}, .b_value = 3, .dynamic = dynamic, .products = {2, 0}});
      }
    }
  }
}

// Zero points that are known at run time only leave it to wider integers.
TEST(Integers, MatMulByUnknownWeights) {
  check_matmul({.b = DType::u8, .b_value = 100, .dynamic_b = true, .products = {0, 1}});
  check_matmul({.b_zero = {5}, .b_value = -2, .dynamic_b = true, .products = {0, 1}});
}

struct ConvCase {
  DType b = DType::i8;
  Dims b_zero = {};
  int64_t b_value = 0;
  int64_t groups = 1;
  std::pair<int, int> products = {1, 0};
};

void check_conv(const ConvCase& c, int64_t pad, bool dynamic) {
  const int64_t out = c.groups == 4 ? 4 : 6;
  const Tensor x = bytes(DType::u8, {2, 4, 5, 6}, 1), w = bytes(c.b, {out, 4 / c.groups, 3, 3}, 2);
  const Tensor xz = zeros(DType::u8, {}, 119), wz = zeros(c.b, c.b_zero, c.b_value);
  ModelBuilder m;
  add_input(m, "x", x);
  Tensors inputs{x};
  if (dynamic) inputs.push_back(xz);
  dynamic ? add_input(m, "xz", xz) : add_constant(m, "xz", xz);
  add_constant(m, "w", w);
  add_constant(m, "wz", wz);
  auto& node = m.node("ConvInteger", {"x", "w", "xz", "wz"}, {"y"});
  auto& pads = ModelBuilder::attr(node, "pads", onnx::AttributeProto::INTS);
  for (int64_t p : {pad, int64_t{0}, int64_t{0}, pad}) pads.add_ints(p);
  ModelBuilder::attr(node, "group", onnx::AttributeProto::INT).set_i(c.groups);
  m.output("y");
  const Graph g = import(m);
  EXPECT_EQ(products(g), c.products) << to_text(g);
  const Tensor y = result(g, inputs);
  const int64_t oh = 3 + pad, ow = 4 + pad, cin = 4 / c.groups;
  ASSERT_EQ(y.dims(), (Dims{2, out, oh, ow}));
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t ox = i % ow, oy = i / ow % oh, o = i / ow / oh % out, n = i / ow / oh / out;
    int64_t want = 0;
    for (int64_t k = 0; k < cin * 9; ++k) {
      const int64_t ix = ox + k % 3, iy = oy + k / 3 % 3 - pad, channel = o / (out / c.groups) * cin + k / 9;
      if (iy < 0 || ix >= 6) continue;
      want += (x.int_at(((n * 4 + channel) * 5 + iy) * 6 + ix) - xz.int_at(0)) *
              (w.int_at(o * cin * 9 + k) - wz.int_at(wz.count() > 1 ? o : 0));
    }
    ASSERT_EQ(y.int_at(i), want) << i;
  }
}

TEST(Integers, Conv) {
  for (int64_t pad : {0, 1}) {
    for (bool dynamic : {false, true}) {
      SCOPED_TRACE(fmt::format("pad {}, dynamic {}", pad, dynamic));
      check_conv({}, pad, dynamic);
      check_conv({.groups = 2}, pad, dynamic);
      check_conv({.b = DType::u8, .b_value = 128}, pad, dynamic);
      check_conv({.b = DType::u8, .b_value = 100, .products = {2, 0}}, pad, dynamic);
      check_conv({.b_zero = {6}, .b_value = -3, .products = {2, 0}}, pad, dynamic);
      check_conv({.b_zero = {4}, .b_value = -3, .groups = 4, .products = {2, 0}}, pad, dynamic);
      // Each group would need sums of its own.
      check_conv({.b_zero = {6}, .b_value = -3, .groups = 2, .products = {0, 1}}, pad, dynamic);
    }
  }
}

}  // namespace
}  // namespace hone
