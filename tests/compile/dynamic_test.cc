// Models whose scales are found at run time, as ONNX Runtime's quantize_dynamic writes them, give the bits of the
// reference on every instruction set.
#include <gtest/gtest.h>

#include "base/cpu_info.h"
#include "compile/compile.h"
#include "import/model_builder.h"
#include "import/onnx/model.h"
#include "runtime/context.h"
#include "small_network.h"

namespace hone {
namespace {

using testing::ModelBuilder;
using testing::random_tensor;

// A quantised layer: `op` is MatMulInteger or ConvInteger.
class Layers {
 public:
  ModelBuilder m;

  onnx::NodeProto& layer(const std::string& op, const char* x, const std::string& name,
                         std::initializer_list<int64_t> dims, bool by_channel, bool unsigned_weights, int zero) {
    const int type = unsigned_weights ? onnx::TensorProto::UINT8 : onnx::TensorProto::INT8;
    int64_t count = 1;
    for (int64_t d : dims) count *= d;
    const int64_t channels = op == "ConvInteger" ? *dims.begin() : *(dims.end() - 1);
    auto& w = m.weight(name + "w", dims, false);
    w.set_data_type(type);
    for (int64_t i = 0; i < count; ++i)
      w.add_int32_data(static_cast<int32_t>(i * i % 251 * 37 % 256) - (unsigned_weights ? 0 : 128));
    auto& wz = by_channel ? m.weight(name + "wz", {channels}, false) : m.weight(name + "wz", {}, false);
    auto& ws = by_channel ? m.weight(name + "ws", {channels}, false) : m.weight(name + "ws", {}, false);
    wz.set_data_type(type);
    for (int64_t c = 0; c < (by_channel ? channels : 1); ++c) {
      wz.add_int32_data(zero);
      ws.add_float_data(0.0017f + 0.00013f * static_cast<float>(c % 7));
    }
    node("DynamicQuantizeLinear", {x}, {name + "v", name + "vs", name + "vz"});
    node("Mul", {name + "vs", name + "ws"}, {name + "scale"});
    node("Cast", {name + "sums"}, {name + "real"});
    ModelBuilder::attr(*m.graph().mutable_node()->rbegin(), "to", onnx::AttributeProto::INT)
        .set_i(onnx::TensorProto::FLOAT);
    node("Mul", {name + "real", name + "scale"}, {name});
    return node(op, {name + "v", name + "w", name + "vz", name + "wz"}, {name + "sums"});
  }

  onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs) {
    auto& n = *m.graph().add_node();
    n.set_op_type(op);
    n.set_name("n_" + outputs[0]);
    for (const std::string& name : inputs) n.add_input(name);
    for (const std::string& name : outputs) n.add_output(name);
    return n;
  }

  Graph graph() const {
    const std::string text = m.bytes();
    auto made = import_onnx_bytes(std::as_bytes(std::span(text)), ".", {});
    EXPECT_TRUE(made.ok()) << made.status().message();
    return made.ok() ? std::move(*made) : Graph();
  }
};

Tensors run(const EngineData& data, const Tensor& x) {
  const auto engine = LoadedEngine::make(EngineData(data));
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  if (!engine.ok()) return {};
  ExecutionContext context(*engine);
  EXPECT_TRUE(context.bind_input("x", x).ok());
  const Status done = context.run();
  EXPECT_TRUE(done.ok()) << done.message();
  const auto outputs = context.outputs();
  return {outputs.begin(), outputs.end()};
}

int count(const EngineData& data, std::string_view tactic, std::string_view op = {}) {
  int n = 0;
  for (const Step& step : data.program.steps) n += step.tactic == tactic && (op.empty() || step.op == op);
  return n;
}

// Compiles for every instruction set; `check` looks at each engine.
template <class F>
void on_all(const Layers& layers, const Tensor& x, F check) {
  const auto reference = compile_graph(layers.graph(), {.target = "reference"});
  ASSERT_TRUE(reference.ok()) << reference.status().message();
  const Tensors want = run(*reference, x);
  for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier) {
    for (int threads : {1, 2}) {
      SCOPED_TRACE(fmt::format("tier {}, {} threads", tier, threads));
      const auto data =
          compile_graph(layers.graph(),
                        {.target = "cpu", .threads = threads, .max_tier = tier, .tune = false, .verify_passes = true});
      ASSERT_TRUE(data.ok()) << data.status().message();
      EXPECT_EQ(count(*data, "reference"), 0);
      check(*data);
      const Tensors got = run(*data, x);
      ASSERT_EQ(got.size(), want.size());
      for (size_t k = 0; k < got.size(); ++k) EXPECT_EQ(got[k], want[k]) << "output " << k;
    }
  }
}

TEST(DynamicQuantisation, MatrixProducts) {
  for (bool by_channel : {false, true}) {
    for (const auto& [unsigned_weights, zero] : {std::pair(false, 0), {true, 128}, {true, 100}, {false, -20}}) {
      SCOPED_TRACE(fmt::format("by channel {}, u8 {}, zero {}", by_channel, unsigned_weights, zero));
      Layers l;
      l.m.input("x", {2, 13, 40});
      l.m.weight("b", {24});
      l.layer("MatMulInteger", "x", "p", {40, 24}, by_channel, unsigned_weights, zero);
      l.node("Add", {"b", "p"}, {"s"});
      l.node("Relu", {"s"}, {"r"});
      l.layer("MatMulInteger", "r", "q", {24, 50}, by_channel, unsigned_weights, zero);
      l.m.output("q");
      const bool rows = zero != 0 && zero != 128;
      on_all(l, random_tensor({2, 13, 40}, 3), [&](const EngineData& data) {
        EXPECT_EQ(count(data, "cpu.dynamic_quantize"), 2);
        EXPECT_EQ(count(data, "cpu.gemm_int8", "Fused"), 2) << "scale, bias and activation are not beside the product";
        EXPECT_EQ(count(data, "cpu.gemm_int8", "MatMul"), rows ? 2 : 0);
      });
    }
  }
}

TEST(DynamicQuantisation, Convolutions) {
  for (bool by_channel : {false, true}) {
    for (const auto& [unsigned_weights, zero] : {std::pair(false, 0), {true, 128}, {true, 100}}) {
      SCOPED_TRACE(fmt::format("by channel {}, u8 {}, zero {}", by_channel, unsigned_weights, zero));
      Layers l;
      l.m.input("x", {2, 5, 9, 8});
      auto& b = l.m.weight("b", {1, 12, 1, 1});
      b.set_float_data(3, 2.5f);
      auto& conv = l.layer("ConvInteger", "x", "p", {12, 5, 3, 3}, false, unsigned_weights, zero);
      ModelBuilder::attr(conv, "pads", onnx::AttributeProto::INTS).mutable_ints()->Resize(4, 1);
      l.node("Add", {"p", "b"}, {"s"});
      l.node("Relu", {"s"}, {"r"});
      auto& last = l.layer("ConvInteger", "r", "q", {12, 1, 3, 3}, false, unsigned_weights, zero);
      ModelBuilder::attr(last, "group", onnx::AttributeProto::INT).set_i(12);
      l.m.output("q");
      on_all(l, random_tensor({2, 5, 9, 8}, 3), [zero = zero](const EngineData& data) {
        EXPECT_EQ(count(data, "cpu.dynamic_quantize"), 2);
        EXPECT_EQ(count(data, "cpu.conv_int8", "Fused"), 1);
        EXPECT_EQ(count(data, "cpu.conv_int8", "Conv"), zero == 100 ? 1 : 0);
        EXPECT_EQ(count(data, "cpu.conv_int8_depthwise", "Fused"), zero == 100 ? 0 : 1);
        EXPECT_EQ(count(data, "cpu.conv_int8_depthwise", "Conv"), zero == 100 ? 2 : 0);
      });
    }
  }
}

// Then the product yields i32.
TEST(DynamicQuantisation, SumsWithAnotherReader) {
  Layers l;
  l.m.input("x", {7, 40});
  l.layer("MatMulInteger", "x", "p", {40, 24}, true, true, 100);
  l.m.output("p");
  l.m.output("psums");
  on_all(l, random_tensor({7, 40}, 3), [&](const EngineData& data) {
    EXPECT_EQ(count(data, "cpu.gemm_int8", "Fused"), 1);
    EXPECT_EQ(count(data, "pointwise"), 3) << "of zero points, of scales, and what makes floats of the sums";
  });
}

// The scales are found by other means, the sums used as integers.
TEST(DynamicQuantisation, ProductsAlone) {
  Layers l;
  l.m.input("x", {7, 40}, onnx::TensorProto::UINT8);
  auto& w = l.m.weight("w", {40, 24}, false);
  w.set_data_type(onnx::TensorProto::INT8);
  for (int i = 0; i < 40 * 24; ++i) w.add_int32_data(i * 37 % 256 - 128);
  l.node("MatMulInteger", {"x", "w"}, {"y"});
  l.m.output("y");
  Tensor x(DType::u8, {7, 40});
  for (int64_t i = 0; i < x.count(); ++i) x.set_int(i, i * i % 256);
  on_all(l, x, [&](const EngineData& data) { EXPECT_EQ(count(data, "cpu.gemm_int8", "MatMul"), 1); });
}

}  // namespace
}  // namespace hone
