// Proofs of what values lie in, held against what the reference computes.
#include "backends/value_bounds.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/lrn.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/resize.h"
#include "ops/rnn.h"
#include "small_network.h"

namespace hone {
namespace {

Interval bound_of(const std::string& program, std::vector<Interval> inputs) {
  const auto parsed = pointwise_from_text(program);
  EXPECT_TRUE(parsed.ok()) << program;
  return bound_of(*parsed, inputs);
}

TEST(ValueBounds, FunctionsAreBounded) {
  const Interval unknown;
  EXPECT_EQ(bound_of("in0:f32; sigmoid:f32(0)", {unknown}), (Interval{0, 1}));
  EXPECT_EQ(bound_of("in0:f32; tanh:f32(0); square:f32(1)", {unknown}), (Interval{0, 1}));
  EXPECT_EQ(bound_of("in0:f32; constant:f32(0); constant:f32(6); clip:f32(0,1,2)", {unknown}), (Interval{0, 6}));
  EXPECT_EQ(bound_of("in0:f32; mul:f32(0,0)", {{-3, 2}}), (Interval{0, 9}));
  EXPECT_EQ(bound_of("in0:f32; in1:f32; mul:f32(0,1)", {{-3, 2}, {-1, 4}}), (Interval{-12, 8}));
  EXPECT_EQ(bound_of("in0:f32; exp:f32(0)", {{-1e9, 0}}), (Interval{0, 1}));
  EXPECT_EQ(bound_of("in0:f32; rsqrt:f32(0)", {{4, 16}}), (Interval{0.25, 0.5}));
  // 200 + 100 does not fit in 8 bits.
  EXPECT_EQ(bound_of("in0:u8; in1:u8; add:u8(0,1)", {{0, 200}, {0, 100}}), (Interval{0, 255}));
  EXPECT_EQ(bound_of("in0:u8; cast:f32(0); constant:f32(255); div:f32(1,2)", {all_of(DType::u8)}), (Interval{0, 1}));
  EXPECT_TRUE(std::isinf(bound_of("in0:f32; cast:f16(0)", {{-1, 1e6}}).high));
}

// Grows a graph of random nodes over small values of any kind.
class Grower {
 public:
  explicit Grower(unsigned seed) : random_(seed) {
    const double reach = std::pow(10.0, static_cast<double>(below(9)) - 4);
    for (const Dims& dims : {Dims{2, 4, 5, 3}, Dims{2, 4, 5, 3}, Dims{2, 5, 4}}) {
      values_.push_back(graph.add_input(fmt::format("x{}", values_.size()), {DType::f32, Shape::of(dims)}));
      known[values_.back()] = {-reach, reach};
      inputs.push_back(tensor(dims, reach));
    }
    bytes_ = graph.add_input("bytes", {DType::u8, Shape::of(Dims{2, 4, 5, 3})});
    inputs.push_back(Tensor(DType::u8, {2, 4, 5, 3}));
    for (int64_t i = 0; i < inputs.back().count(); ++i) inputs.back().set_int(i, static_cast<int64_t>(below(256)));
  }

  void grow(int nodes) {
    for (int tries = 0; nodes > 0 && tries < 200; ++tries) nodes -= step();
    graph.add_output(values_.back(), "y");
  }

  Graph graph;
  Bounds known;
  Tensors inputs;

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  ValueId pick() { return values_[values_.size() - 1 - below(std::min<size_t>(values_.size(), 6))]; }
  Dims dims(ValueId v) const { return *graph.type(v).shape.concrete(); }
  Tensor tensor(Dims dims, double reach = 2) {
    Tensor t(DType::f32, std::move(dims));
    std::uniform_real_distribution<double> numbers(-reach, reach);
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, below(10) == 0 ? 0 : numbers(random_));
    return t;
  }
  ValueId constant(Dims dims) { return graph.add_constant(tensor(std::move(dims))); }
  ValueId ints(std::vector<int64_t> values) { return graph.add_constant(Tensor::vector(values)); }

  bool add(Op op, std::vector<ValueId> operands) {
    const auto node = graph.add_node(std::move(op), std::move(operands), 1, {fmt::format("n{}", values_.size())});
    if (!node.ok()) return false;
    const ValueId v = graph.node(*node).outputs[0];
    if (const int64_t count = element_count(dims(v)); count == 0 || count > 2000) return true;
    values_.push_back(v);
    return true;
  }

  bool pointwise(ValueId x) {
    constexpr size_t kFunctions = static_cast<size_t>(Fn::hard_sigmoid) + 1;
    const auto fn = static_cast<Fn>(2 + below(kFunctions - 2));
    if (fn == Fn::where || (fn >= Fn::logical_and && fn <= Fn::shift_right)) return false;
    std::vector<ValueId> operands{x};
    for (int i = 1; i < arity(fn); ++i) operands.push_back(below(2) ? constant({}) : pick());
    return add(Pointwise{single(fn, DType::f32, DType::f32)}, operands);
  }
  bool bytes() {
    static const char* const kPrograms[] = {"in0:u8; cast:f32(0); in1:f32; mul:f32(1,2)",
                                            "in0:u8; in0:u8; add:u8(0,1); cast:f32(2); in1:f32; sub:f32(3,4)",
                                            "in0:u8; cast:i8(0); neg:i8(1); cast:f32(2); in1:f32; max:f32(3,4)",
                                            "in1:f32; cast:u8(0); in0:u8; max:u8(1,2); cast:f32(3)"};
    return add(Pointwise{*pointwise_from_text(kPrograms[below(std::size(kPrograms))])}, {bytes_, constant({})});
  }
  bool conv(ValueId x, bool transposed) {
    const Dims d = dims(x);
    if (d.size() != 4) return false;
    const int64_t groups = d[1] % 2 == 0 && below(2) ? 2 : 1, out = 2 * static_cast<int64_t>(1 + below(2));
    const ValueId w = transposed ? constant({d[1], out / groups, 2, 2}) : constant({out, d[1] / groups, 3, 1});
    std::vector<ValueId> operands{x, w};
    if (below(2)) operands.push_back(constant({out}));
    if (transposed)
      return add(
          ConvTranspose{
              .strides = {2, 1}, .dilations = {1, 1}, .pads = {0, 1, 0, 0}, .output_padding = {0, 0}, .groups = groups},
          operands);
    return add(Conv{.strides = {1, 2}, .dilations = {1, 1}, .pads = {1, 0, 1, 0}, .groups = groups}, operands);
  }
  bool matmul(ValueId x) {
    const Dims d = dims(x);
    if (d.size() < 2) return false;
    const int64_t n = d.back(), m = d[d.size() - 2];
    switch (below(5)) {
      case 0: return add(MatMul{}, {x, constant({n, 3}), constant({3})});
      case 1: return add(MatMul{.trans_b = true}, {x, constant({3, n})});
      case 2: return add(MatMul{}, {constant({2, m}), x});
      case 3: return add(MatMul{.trans_a = true}, {constant({m, 3}), x});
      default: return add(MatMul{.trans_b = true}, {x, x});
    }
  }
  bool norm(ValueId x) {
    const Dims d = dims(x);
    if (d.size() < 3) return false;
    const double epsilon = below(2) ? 1e-5 : 1e-12;
    switch (below(5)) {
      case 0: return add(LayerNorm{.axis = -2, .epsilon = epsilon}, {x, constant({d.back()}), constant({d.back()})});
      case 1: return add(LayerNorm{.epsilon = epsilon, .rms = true}, {x});
      case 2: return add(GroupNorm{.groups = 0, .epsilon = epsilon}, {x, constant({d[1]}), constant({d[1]})});
      case 3: return add(Lrn{.size = 3, .alpha = 0.1, .beta = 0.75, .bias = 0.5}, {x});
      default: return add(Softmax{.axis = 1, .log = below(2) == 0}, {x});
    }
  }
  bool window(ValueId x) {
    if (dims(x).size() != 4) return false;
    if (below(3) == 0)
      return add(
          Resize{.mode = below(2) ? "linear" : "nearest"},
          {x, ValueId::none, graph.add_constant(Tensor::of<float>(DType::f32, {4}, std::vector{1.f, 1.f, 1.5f, 2.f}))});
    return add(Pool{.kind = below(2) ? "max" : "average",
                    .kernel = {2, 2},
                    .strides = {1, 1},
                    .dilations = {1, 1},
                    .pads = {0, 0, 1, 1},
                    .count_include_pad = below(2) == 0},
               {x});
  }
  bool reduce(ValueId x) {
    static const char* const kKinds[] = {"sum", "mean", "max", "min", "prod", "sum_square", "l1", "l2", "log_sum_exp"};
    if (dims(x).empty()) return false;
    return add(Reduce{.kind = kKinds[below(std::size(kKinds))]},
               {x, ints({static_cast<int64_t>(below(dims(x).size()))})});
  }
  bool movement(ValueId x) {
    const Dims d = dims(x);
    if (d.size() < 2) return false;
    std::vector<int64_t> perm(d.size());
    for (size_t i = 0; i < d.size(); ++i) perm[i] = static_cast<int64_t>((i + 1) % d.size());
    switch (below(4)) {
      case 0: return add(Transpose{perm}, {x});
      case 1: return add(Concat{.axis = 0}, {x, pick()});
      case 2: return add(Slice{}, {x, ints({1}), ints({3}), ints({1})});
      default: {
        std::vector<int64_t> pads(2 * d.size(), 0);
        pads[1] = 2;
        return add(Pad{.mode = below(2) ? "constant" : "edge"}, {x, ints(pads), constant({})});
      }
    }
  }
  bool attention(ValueId x) { return dims(x).size() == 4 && add(Attention{.causal = below(2) == 0}, {x, x, x}); }
  bool recurrent(ValueId x) {
    const Dims d = dims(x);
    if (d.size() != 3) return false;
    Rnn op{.hidden = 3, .activations = {"sigmoid", "tanh", "tanh"}, .alpha = {0, 0, 0}, .beta = {0, 0, 0}};
    return add(op, {x, constant({1, 12, d[2]}), constant({1, 12, 3})});
  }

  bool step() {
    const ValueId x = pick();
    switch (below(16)) {
      case 0: return conv(x, false);
      case 1: return conv(x, true);
      case 2: return matmul(x);
      case 3: return norm(x);
      case 4: return window(x);
      case 5: return reduce(x);
      case 6: return movement(x);
      case 7: return attention(x);
      case 8: return recurrent(x);
      case 9: return bytes();
      default: return pointwise(x);
    }
  }

  std::mt19937 random_;
  std::vector<ValueId> values_;
  ValueId bytes_ = ValueId::none;
};

TEST(ValueBounds, HoldWhatRandomNetworksCompute) {
  size_t proved = 0, all = 0;
  for (unsigned seed = 0; seed < 2000; ++seed) {
    Grower grower(seed);
    grower.grow(12);
    const Graph& graph = grower.graph;
    const Bounds bounds = value_bounds(graph, grower.known);
    const auto see = [&](NodeId id, std::span<const Tensor> outputs) {
      const Interval bound = bounds.at(graph.node(id).outputs[0]);
      all += 1;
      proved += !std::isinf(bound.magnitude());
      for (int64_t i = 0; i < outputs[0].count(); ++i) {
        const double v = outputs[0].at(i), slack = 1e-5 * std::fabs(v) + 1e-30;
        ASSERT_FALSE(v + slack < bound.low || v - slack > bound.high)
            << "seed " << seed << ": " << v << " is not in [" << bound.low << ", " << bound.high << "], "
            << graph.label(id) << "\n"
            << to_text(graph);
      }
    };
    const auto result = interpret(graph, grower.inputs, see);
    ASSERT_TRUE(result.ok()) << result.status().message();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(proved, all / 2);
}

TEST(ValueBounds, NormsAndSoftmaxEndTheGrowth) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{2, 16})});
  const ValueId norm = testing::add(g, "LayerNorm", {}, {x});
  const ValueId weights = g.add_constant(testing::random_tensor({16, 8}, 1), "w");
  const ValueId product = testing::add(g, "MatMul", {}, {norm, weights});
  const ValueId unbounded = testing::add(g, "MatMul", {}, {x, weights});
  g.add_output(product, "y");
  g.add_output(unbounded, "z");
  const Bounds bounds = value_bounds(g);
  EXPECT_EQ(bounds.at(norm).magnitude(), 4);
  EXPECT_LE(bounds.at(product).magnitude(), 64);
  EXPECT_TRUE(std::isinf(bounds.at(unbounded).magnitude()));
  // What is known from elsewhere is used.
  EXPECT_LE(value_bounds(g, {{x, {-1, 1}}}).at(unbounded).magnitude(), 16);
}

}  // namespace
}  // namespace hone
