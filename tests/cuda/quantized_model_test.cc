// What a model that comes quantised is rewritten to, checked by the reference.
#include "backends/quantized_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "backends/cpu_fusion.h"
#include "backends/gpu_fusion.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/quantize.h"
#include "passes/pipeline.h"
#include "small_network.h"

namespace hone {
namespace {

const Machine kMachines[] = {{.cuda_arch = "sm_90"}, {.threads = 1}};

struct Format {
  DType type = DType::i8;
  double zero = 0, zero_after_relu = 0;

  // What its products are of.
  DType factors() const { return type == DType::f8e4m3fn ? type : DType::i8; }
  // The CPU has no kernels for e4m3.
  bool runs_on(const Machine& machine) const { return factors() == DType::i8 || !machine.cuda_arch.empty(); }
};

const Format kFormats[] = {
    {}, {DType::i8, 3, -128}, {DType::u8, 128, 128}, {DType::u8, 117, 0}, {DType::f8e4m3fn, 0, 0}};

// Builds a model in the way that quantisers write it.
class Model {
 public:
  explicit Model(Format format, unsigned seed = 1) : format_(format), seed_(seed) {}

  ValueId add(Op op, std::vector<ValueId> inputs) {
    const auto node = graph.add_node(std::move(op), std::move(inputs));
    EXPECT_TRUE(node.ok()) << node.status().message();
    return graph.node(*node).outputs[0];
  }
  ValueId scalar(double value, DType type = DType::f32) { return graph.add_constant(Tensor::scalar(value, type)); }
  ValueId input(Dims dims) { return graph.add_input("x", {DType::f32, Shape::of(dims)}); }

  ValueId quantize(ValueId x, double scale, bool after_relu = false) {
    const double zero = after_relu ? format_.zero_after_relu : format_.zero;
    return add(Quantize{.type = format_.type}, {x, scalar(scale), scalar(zero, format_.type)});
  }
  ValueId dequantize(ValueId x, double scale, bool after_relu = false) {
    const double zero = after_relu ? format_.zero_after_relu : format_.zero;
    return add(Dequantize{}, {x, scalar(scale), scalar(zero, format_.type)});
  }
  ValueId both(ValueId x, double scale, bool after_relu = false) {
    return dequantize(quantize(x, scale, after_relu), scale, after_relu);
  }

  // In 8 bits, with a scale for each index of `axis`, or one for all where it is -1.
  ValueId weights(Dims dims, int64_t axis) {
    Tensor values(format_.factors(), dims);
    const Tensor numbers = testing::random_tensor(dims, ++seed_, 127);
    for (int64_t i = 0; i < values.count(); ++i) values.set(i, std::nearbyint(numbers.at(i)));
    Tensor scales(DType::f32, axis < 0 ? Dims{} : Dims{dims[static_cast<size_t>(axis)]});
    for (int64_t i = 0; i < scales.count(); ++i) scales.set(i, 0.0011317 + 0.00010713 * static_cast<double>(i % 5));
    return add(Dequantize{.axis = std::max<int64_t>(axis, 0)},
               {graph.add_constant(values, "w"), graph.add_constant(scales)});
  }
  ValueId bias(int64_t count) { return graph.add_constant(testing::random_tensor({count}, ++seed_)); }

  ValueId conv(ValueId x, Dims filter, int64_t pad, bool by_channel = true) {
    const Conv op{.strides = {1, 1}, .dilations = {1, 1}, .pads = std::vector<int64_t>(4, pad)};
    return add(op, {x, weights(filter, by_channel ? 0 : -1), bias(filter[0])});
  }
  ValueId relu(ValueId x) { return add(Pointwise{single(Fn::relu, DType::f32, DType::f32)}, {x}); }

  Graph graph;

 private:
  Format format_;
  unsigned seed_;
};

size_t count_of(const Graph& g, DType type, std::string_view op = {}) {
  size_t count = 0;
  for (NodeId id : g.order())
    count += g.type(g.node(id).outputs[0]).dtype == type && (op.empty() || g.node(id).op.name() == op);
  return count;
}

// Products whose factors are of a type.
size_t products_of(const Graph& g, DType type) {
  size_t count = 0;
  for (NodeId id : g.order()) {
    const Node& node = g.node(id);
    count += (node.op.name() == "Conv" || node.op.name() == "MatMul") && g.type(node.inputs[0]).dtype == type;
  }
  return count;
}

// The stages up to the integers.
Graph in_integers(Graph g, const Machine& machine) {
  EXPECT_TRUE(canonicalize(g).ok() && assign_layout(g).ok());
  EXPECT_TRUE(run_quantized_model_in_integers(g, machine));
  const Status valid = verify(g);
  EXPECT_TRUE(valid.ok()) << valid.message();
  EXPECT_EQ(count_of(g, DType::f32, "Dequantize") + count_of(g, DType::i8, "Quantize"), 0u) << to_text(g);
  return g;
}

// Integers may differ by 1 where a value was halfway, and e4m3 by an eighth, which is rare.
void expect_same(const Graph& before, const Graph& now, const Tensor& input) {
  const auto want = interpret(before, Tensors{input}), got = interpret(now, Tensors{input});
  ASSERT_TRUE(want.ok() && got.ok());
  for (size_t k = 0; k < want->size(); ++k) {
    ASSERT_EQ((*got)[k].type(), (*want)[k].type());
    ASSERT_EQ((*got)[k].dims(), (*want)[k].dims());
    int64_t off = 0;
    std::set<double> seen;
    for (int64_t i = 0; i < (*want)[k].count(); ++i) {
      const double difference = std::fabs((*got)[k].at(i) - (*want)[k].at(i));
      const bool fp8 = (*want)[k].type() == DType::f8e4m3fn;
      ASSERT_LE(difference, fp8 ? 1.01 * std::max(std::fabs((*want)[k].at(i)) / 8, 0x1p-9) : 1)
          << "output " << k << " at " << i;
      off += difference > 1e-4;
      seen.insert((*want)[k].at(i));
    }
    EXPECT_LE(off * 200, (*want)[k].count());
    EXPECT_GT(seen.size(), 20u) << "a test of nothing";
  }
}

TEST(QuantizedModel, ANetworkRunsInIntegers) {
  for (const Machine& machine : kMachines) {
    for (const Format& format : kFormats) {
      if (!format.runs_on(machine)) continue;
      SCOPED_TRACE(fmt::format("{} zero {}, {}", name(format.type), format.zero, machine.cuda_arch));
      Model m(format);
      const ValueId image = m.both(m.input({2, 16, 9, 9}), 0.010713);
      const ValueId stem = m.both(m.relu(m.conv(image, {16, 16, 3, 3}, 1)), 0.021137, true);
      const ValueId pooled = m.both(
          m.add(Pool{.kind = "max", .kernel = {3, 3}, .strides = {2, 2}, .dilations = {1, 1}, .pads = {1, 1, 1, 1}},
                {stem}),
          0.021137, true);
      const ValueId branch = m.both(m.conv(pooled, {16, 16, 3, 3}, 1, false), 0.031317);
      const ValueId shortcut = m.both(m.conv(pooled, {16, 16, 1, 1}, 0), 0.027131);
      const ValueId sum = m.add(Pointwise{single(Fn::add, DType::f32, DType::f32)}, {branch, shortcut});
      const ValueId joined = m.both(m.relu(sum), 0.051713, true);
      m.graph.add_output(m.quantize(m.conv(joined, {32, 16, 1, 1}, 0), 0.020713), "y");
      m.graph.add_output(m.add(Pointwise{single(Fn::tanh, DType::f32, DType::f32)}, {joined}), "z");

      Graph now = in_integers(m.graph, machine);
      EXPECT_EQ(products_of(now, format.factors()), 4u) << to_text(now, {.max_inline = 4});
      EXPECT_EQ(count_of(now, format.factors(), "Pool"), 1u);
      const Tensor input = testing::random_tensor({2, 16, 9, 9}, 9);
      expect_same(m.graph, now, input);

      ASSERT_TRUE(merge_elementwise(now).ok() && fuse(now).ok());
      machine.cuda_arch.empty() ? fuse_for_cpu(now, machine) : fuse_for_gpu(now, machine);
      ASSERT_TRUE(verify(now).ok()) << verify(now).message();
      EXPECT_EQ(products_of(now, format.factors()), 0u) << to_text(now, {.max_inline = 4});
      expect_same(m.graph, now, input);
    }
  }
}

TEST(QuantizedModel, MatrixProducts) {
  for (const Machine& machine : kMachines) {
    for (const Format& format : kFormats) {
      for (int64_t axis : {-1, 1}) {
        if (!format.runs_on(machine)) continue;
        Model m(format);
        const ValueId x = m.both(m.input({5, 48}), 0.010713);
        const ValueId hidden = m.both(m.relu(m.add(MatMul{}, {x, m.weights({48, 32}, axis)})), 0.011317, true);
        m.graph.add_output(m.quantize(m.add(MatMul{}, {hidden, m.weights({32, 64}, axis), m.bias(64)}), 0.020713), "y");
        Graph now = in_integers(m.graph, machine);
        EXPECT_EQ(products_of(now, format.factors()), 2u);
        expect_same(m.graph, now, testing::random_tensor({5, 48}, 9));
      }
    }
  }
}

// Each is quantised by its own scale, then by that of the whole.
TEST(QuantizedModel, ConcatenationIsDoneOnBytes) {
  for (const Machine& machine : kMachines) {
    Model m({DType::u8, 100, 0});
    const ValueId x = m.both(m.input({1, 8, 12, 16}), 0.010713);
    const ValueId joined = m.add(Concat{.axis = 3}, {x, m.both(m.relu(x), 0.0051317, true)});
    m.graph.add_output(m.quantize(joined, 0.012713), "y");
    const Graph now = in_integers(m.graph, machine);
    EXPECT_EQ(count_of(now, DType::i8, "Concat"), 1u) << to_text(now);
    EXPECT_EQ(count_of(now, DType::f32, "Concat"), 0u);
    expect_same(m.graph, now, testing::random_tensor({1, 8, 12, 16}, 9));
  }
}

TEST(QuantizedModel, Fp8StaysWhatItIsWhereNoKernelMultipliesIt) {
  const auto model = [](bool saturate, double zero) {
    Model m({DType::f8e4m3fn});
    const ValueId scale = m.scalar(0.010713), offset = m.scalar(zero, DType::f8e4m3fn);
    const ValueId x =
        m.add(Dequantize{},
              {m.add(Quantize{.type = DType::f8e4m3fn, .saturate = saturate}, {m.input({5, 48}), scale, offset}), scale,
               offset});
    m.graph.add_output(m.add(MatMul{}, {x, m.weights({48, 32}, 1)}), "y");
    EXPECT_TRUE(canonicalize(m.graph).ok());
    return m.graph;
  };
  const auto products = [&](Graph g, const Machine& machine) {
    const Graph before = g;
    run_quantized_model_in_integers(g, machine);
    expect_same(before, g, testing::random_tensor({5, 48}, 9));
    return products_of(g, DType::f8e4m3fn);
  };
  EXPECT_EQ(products(model(true, 0), {.cuda_arch = "sm_90"}), 1u);
  EXPECT_EQ(products(model(true, 0), {.cuda_arch = "sm_89"}), 1u);
  EXPECT_EQ(products(model(true, 0), {.cuda_arch = "sm_86"}), 0u);
  EXPECT_EQ(products(model(true, 0), {.threads = 1}), 0u);
  // Overflow to NaN, and values that stand for something else than 0, are the reference's work.
  Graph overflows = model(false, 0), shifted = model(true, 2);
  EXPECT_EQ(products(shifted, kMachines[0]), 0u);
  EXPECT_FALSE(run_quantized_model_in_integers(shifted, kMachines[0]));
  run_quantized_model_in_integers(overflows, kMachines[0]);
  EXPECT_EQ(count_of(overflows, DType::f8e4m3fn, "Quantize"), 1u);
}

// Their product stays one of floats, the weights stay bytes.
TEST(QuantizedModel, WeightsThatI8DoesNotHoldStayPacked) {
  Model m({});
  const ValueId x = m.both(m.input({5, 48}), 0.010713);
  Tensor values(DType::u8, {48, 32});
  for (int64_t i = 0; i < values.count(); ++i) values.set(i, static_cast<double>(i * 37 % 256));
  const ValueId weights =
      m.add(Dequantize{}, {m.graph.add_constant(values), m.scalar(0.0011713), m.scalar(7, DType::u8)});
  m.graph.add_output(m.add(MatMul{}, {x, weights}), "y");
  const Graph now = in_integers(m.graph, kMachines[1]);
  EXPECT_EQ(count_of(now, DType::i32), 0u);
  EXPECT_EQ(count_of(now, DType::f32, "MatMulNBits"), 1u) << to_text(now);
  expect_same(m.graph, now, testing::random_tensor({5, 48}, 9));
}

TEST(QuantizedModel, FloatsAreLeftAlone) {
  Graph g = testing::small_network();
  const Graph before = g;
  EXPECT_FALSE(run_quantized_model_in_integers(g, kMachines[0]));
  EXPECT_TRUE(equal(g, before));
}

}  // namespace
}  // namespace hone
