// Random networks in int8 lie within the bounds that follow from their scales: of the reference, and of the kernels of
// every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backends/integers.h"
#include "backends/quantize.h"
#include "base/copy.h"
#include "base/cpu_info.h"
#include "compile/compile.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "passes/pipeline.h"
#include "runtime/context.h"

namespace hone {
namespace {

// Grows networks of convolutions (plain, grouped, depthwise), products, elementwise work, pooling, concatenations and
// views, channels last.
class Grower {
 public:
  explicit Grower(unsigned seed) : random_(seed) {
    const int64_t side = 3 + 2 * below(3);
    values_.push_back(graph_.add_input("x", {DType::f32, Shape::of(Dims{2, side, side, width()})}));
  }

  Graph grow(int nodes) {
    for (int tries = 0; nodes > 0 && tries < 100; ++tries) nodes -= step(pick());
    for (ValueId v : values_)
      if (graph_.value(v).users.empty()) graph_.add_output(v, fmt::format("y{}", index(v)));
    return std::move(graph_);
  }

  // Each channel of a magnitude of its own.
  Tensor tensor(Dims dims) {
    Tensor t(DType::f32, std::move(dims));
    std::uniform_real_distribution<double> numbers(-1, 1), powers(-2, 0);
    std::vector<double> magnitudes(static_cast<size_t>(t.dims().back()));
    for (double& m : magnitudes) m = std::exp2(powers(random_));
    for (int64_t i = 0; i < t.count(); ++i)
      t.set(i, numbers(random_) * magnitudes[static_cast<size_t>(i) % magnitudes.size()]);
    return t;
  }

 private:
  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  // Of channels: few, so that a bound is near, or as many as take several vectors.
  int64_t width() { return below(4) > 0 ? 1 + below(8) : 15 + below(35); }
  ValueId pick() {
    return values_[values_.size() - 1 - static_cast<size_t>(below(std::min<int64_t>(std::ssize(values_), 3)))];
  }
  Dims dims(ValueId v) const { return *graph_.type(v).shape.concrete(); }
  ValueId constant(Dims d) { return graph_.add_constant(tensor(std::move(d))); }

  bool add(Op op, std::vector<ValueId> inputs) {
    const auto node = graph_.add_node(std::move(op), std::move(inputs), 1, {fmt::format("n{}", values_.size())});
    if (node.ok()) values_.push_back(graph_.node(*node).outputs[0]);
    return node.ok();
  }

  bool step(ValueId x) {
    switch (below(9)) {
      case 0:
      case 1: return conv(x);
      case 2:
      case 3: return product(x);
      case 4: return unary(x);
      case 5:
      case 6: return binary(x);
      case 7: return pool(x);
      default: return view(x);
    }
  }
  bool conv(ValueId x) {
    const Dims d = dims(x);
    if (d.size() != 4) return false;
    const int64_t size = 1 + 2 * below(2), stride = 1 + below(2), cin = d[3];
    const int64_t groups = below(3) > 0 ? 1 : below(2) > 0 ? cin : cin % 2 == 0 ? 2 : 1;
    const int64_t cout = groups == cin && cin > 1 ? cin : groups * width();
    std::vector<ValueId> inputs{x, constant({cout, cin / groups, size, size})};
    if (below(2) > 0) inputs.push_back(constant({cout}));
    return add(Conv{.strides = {stride, stride},
                    .dilations = {1, 1},
                    .pads = std::vector<int64_t>(4, size / 2),
                    .groups = groups,
                    .channels_last = true},
               inputs);
  }
  bool product(ValueId x) {
    const bool turned = below(2) > 0;
    const int64_t depth = dims(x).back(), columns = width();
    std::vector<ValueId> inputs{x, constant(turned ? Dims{columns, depth} : Dims{depth, columns})};
    if (below(2) > 0) inputs.push_back(constant({columns}));
    return add(MatMul{.trans_b = turned}, inputs);
  }
  bool unary(ValueId x) {
    static constexpr Fn kFns[] = {Fn::relu, Fn::relu, Fn::sigmoid, Fn::tanh, Fn::silu, Fn::hard_swish, Fn::gelu_erf};
    return add(Pointwise{single(kFns[below(std::ssize(kFns))], DType::f32, DType::f32)}, {x});
  }
  bool binary(ValueId x) {
    static constexpr Fn kFns[] = {Fn::add, Fn::add, Fn::sub, Fn::mul, Fn::max};
    ValueId y = pick();
    if (dims(y) != dims(x) || y == x) y = constant({dims(x).back()});
    return add(Pointwise{single(kFns[below(std::ssize(kFns))], DType::f32, DType::f32)}, {x, y});
  }
  bool pool(ValueId x) {
    if (dims(x).size() != 4) return false;
    return add(Pool{.kind = below(3) > 0 ? "max" : "average",
                    .kernel = {2, 2},
                    .strides = {1, 1},
                    .dilations = {1, 1},
                    .pads = {0, 0, 1, 1},
                    .channels_last = true},
               {x});
  }
  bool view(ValueId x) {
    const Dims d = dims(x);
    const ValueId y = pick();
    if (below(2) > 0 && dims(y).size() == d.size() && std::equal(d.begin(), d.end() - 1, dims(y).begin()))
      return add(Concat{.axis = static_cast<int64_t>(d.size()) - 1}, {x, y});
    if (d.size() != 4) return false;
    if (below(2) > 0)
      return add(Reshape{}, {x, graph_.add_constant(Tensor::vector(std::vector<int64_t>{d[0], d[1] * d[2], d[3]}))});
    return add(Reduce{.kind = "mean", .keep_dims = false},
               {x, graph_.add_constant(Tensor::vector(std::vector<int64_t>{1, 2}))});
  }

  std::mt19937 random_;
  Graph graph_;
  std::vector<ValueId> values_;
};

Tensor evaluated(const Op& op, Tensors inputs) {
  auto made = op.evaluate({inputs, 1});
  EXPECT_TRUE(made.ok()) << made.status().message();
  return made.ok() ? (*made)[0] : Tensor();
}
Tensor evaluated(Fn fn, Tensors inputs) {
  return evaluated(Op(Pointwise{single(fn, DType::f32, DType::f32)}), std::move(inputs));
}

template <class F>
Tensor mapped(const Tensor& t, F f) {
  Tensor out(DType::f32, t.dims());
  for (int64_t i = 0; i < t.count(); ++i) out.set(i, f(t.at(i)));
  return out;
}
Tensor magnitudes(const Tensor& t) {
  return mapped(t, [](double v) { return std::fabs(v); });
}

// The largest slope of a function of one argument, and of one of several that is in none steeper than 1: then errors
// add up.
double slope(Fn fn) {
  switch (fn) {
    case Fn::sigmoid: return 0.25;
    case Fn::silu: return 1.1;
    case Fn::gelu_erf: return 1.13;
    case Fn::hard_swish: return 1.5;
    case Fn::add:
    case Fn::sub:
    case Fn::max:
    case Fn::min:
    case Fn::relu:
    case Fn::neg:
    case Fn::tanh: return 1;
    default: ADD_FAILURE() << "no slope of " << name(fn); return NAN;
  }
}

// How far each value of a network in int8 may be from that in floats.
class Bound {
 public:
  Bound(const Graph& floats, const Int8Network& made, const std::map<ValueId, Tensor>& values)
      : graph_(floats), values_(values) {
    for (const Int8Layer& layer : made.layers)
      if (layer.reason.empty()) layers_[layer.node] = layer.steps;
    for (const Int8Tensor& t : made.tensors) steps_[t.value] = t.step;
  }

  Tensor of(ValueId output) {
    if (errors_.empty())
      for (NodeId id : graph_.order()) errors_[graph_.node(id).outputs[0]] = of_node(id);
    return error(output);
  }

 private:
  Tensor value(ValueId v) const { return graph_.value(v).is_constant() ? graph_.value(v).constant : values_.at(v); }
  Tensor error(ValueId v) const {
    if (const auto found = errors_.find(v); found != errors_.end()) return found->second;
    return mapped(value(v), [](double) { return 0.0; });
  }

  // Of a value that is read in steps, one or one for each channel: rounding takes half a step more, and clipping what
  // is beyond 127 of them.
  Tensor error_in_steps(ValueId v, std::span<const double> steps) const {
    const Tensor exact = value(v), before = error(v);
    Tensor after(DType::f32, before.dims());
    for (int64_t i = 0; i < after.count(); ++i) {
      const double step = steps[static_cast<size_t>(i) % steps.size()];
      after.set(i, before.at(i) + step / 2 + std::max(0.0, std::fabs(exact.at(i)) - 127 * step));
    }
    return after;
  }

  Tensor of_node(NodeId id) const {
    const Node& node = graph_.node(id);
    if (node.op.as<Conv>() || node.op.as<MatMul>()) return of_layer(id);
    if (const auto* pointwise = node.op.as<Pointwise>()) return of_program(pointwise->program, node.inputs);
    Tensors inputs;
    for (ValueId v : node.inputs) inputs.push_back(graph_.value(v).is_constant() ? value(v) : error(v));
    return evaluated(node.op, std::move(inputs));
  }

  // The weights, too, are half a step off, that of their output channel.
  Tensor of_layer(NodeId id) const {
    const Node& node = graph_.node(id);
    const Tensor weights = value(node.inputs[1]);
    const auto layer = layers_.find(id);
    if (layer == layers_.end()) return evaluated(node.op, {error(node.inputs[0]), magnitudes(weights)});
    const std::vector<double>& steps = layer->second;
    const Tensor off = error_in_steps(node.inputs[0], steps);
    const OutputChannels outputs = output_channels(node.op, weights.dims());
    std::vector<double> largest(static_cast<size_t>(outputs.count), 0);
    const auto in_steps = [&](int64_t i) {
      return steps[static_cast<size_t>(input_channel(node.op, weights.dims(), i)) % steps.size()];
    };
    for (int64_t i = 0; i < weights.count(); ++i) {
      double& own = largest[static_cast<size_t>(outputs.of(i))];
      own = std::max(own, std::fabs(weights.at(i)) * in_steps(i));
    }
    Tensor weights_off(DType::f32, weights.dims());
    for (int64_t i = 0; i < weights.count(); ++i)
      weights_off.set(i, largest[static_cast<size_t>(outputs.of(i))] / 127 / 2 / in_steps(i));
    const Tensor read = evaluated(Fn::add, {magnitudes(value(node.inputs[0])), off});
    return evaluated(Fn::add,
                     {evaluated(node.op, {off, magnitudes(weights)}), evaluated(node.op, {read, weights_off})});
  }

  Tensor of_program(const PointwiseProgram& program, const std::vector<ValueId>& inputs) const {
    Tensors values, errors;
    for (const PointwiseInstr& instr : program.code) {
      if (instr.fn == Fn::input) {
        const ValueId v = inputs[static_cast<size_t>(instr.input)];
        const auto step = steps_.find(v);
        values.push_back(value(v));
        errors.push_back(step == steps_.end() ? error(v) : error_in_steps(v, {&step->second, 1}));
        continue;
      }
      Tensors own, off;
      for (int k = 0; k < arity(instr.fn); ++k) {
        own.push_back(values[static_cast<size_t>(instr.operand[k])]);
        off.push_back(errors[static_cast<size_t>(instr.operand[k])]);
      }
      if (instr.fn == Fn::constant) {
        values.push_back(tensor_of(instr.value));
        errors.push_back(tensor_of(0));
        continue;
      }
      values.push_back(evaluated(instr.fn, own));
      if (instr.fn == Fn::mul) {
        const Tensor a = evaluated(Fn::mul, {magnitudes(own[0]), off[1]}),
                     b = evaluated(Fn::mul, {magnitudes(own[1]), off[0]});
        errors.push_back(evaluated(Fn::add, {evaluated(Fn::add, {a, b}), evaluated(Fn::mul, off)}));
      } else {
        const double steepest = slope(instr.fn);
        const Tensor sum = off.size() == 1 ? off[0] : evaluated(Fn::add, off);
        errors.push_back(mapped(sum, [&](double e) { return e * steepest; }));
      }
    }
    return errors.back();
  }

  static Tensor tensor_of(double v) {
    Tensor t(DType::f32, {});
    t.set(0, v);
    return t;
  }

  const Graph& graph_;
  const std::map<ValueId, Tensor>& values_;
  std::map<NodeId, std::vector<double>> layers_;
  std::map<ValueId, double> steps_;
  std::map<ValueId, Tensor> errors_;
};

// A network as it is quantised, with its values and their ranges.
struct Network {
  Graph floats;
  Tensors inputs;
  std::map<ValueId, Tensor> values;
  Thresholds ranges;
};

// Every other one clips.
Network network(unsigned seed) {
  Network n;
  Grower grower(seed);
  n.floats = grower.grow(1 + static_cast<int>(seed % 8));
  n.inputs = {grower.tensor(*n.floats.type(n.floats.inputs()[0]).shape.concrete())};
  EXPECT_TRUE(canonicalize(n.floats, {}).ok() && assign_layout(n.floats, {}).ok());
  const auto see = [&](ValueId v, const Tensor& t) {
    if (n.floats.value(v).name.empty()) n.floats.set_name(v, fmt::format("v{}", index(v)));
    Magnitude& range = n.ranges[n.floats.value(v).name];
    range.channels.resize(t.rank() > 0 ? static_cast<size_t>(t.dims().back()) : 0);
    for (int64_t i = 0; i < t.count(); ++i) {
      double& channel = range.channels[static_cast<size_t>(i) % range.channels.size()];
      channel = std::max(channel, std::fabs(t.at(i)));
      range.whole = std::max(range.whole, channel);
    }
    n.values[v] = t;
  };
  see(n.floats.inputs()[0], n.inputs[0]);
  const Graph copy = n.floats;
  EXPECT_TRUE(interpret(copy, n.inputs, [&](NodeId id, std::span<const Tensor> values) {
                see(copy.node(id).outputs[0], values[0]);
              }).ok());
  for (auto& [name, range] : n.ranges) range.whole *= seed % 2 > 0 ? 0.6 : 1;
  return n;
}

struct Ran {
  Tensors outputs;
  std::vector<LayerPrecision> layers;
};

Ran run(const Network& n, int tier) {
  auto engine = compile_graph(
      n.floats,
      {.target = "cpu", .threads = 2, .max_tier = tier, .thresholds = n.ranges, .tune = false, .verify_passes = true});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  if (!engine.ok()) return {};
  Ran ran{{}, engine->program.build.layers};
  ExecutionContext context(LoadedEngine::make(std::move(*engine)).value());
  EXPECT_TRUE(context.bind_input("x", n.inputs[0]).ok() && context.run().ok());
  for (const Tensor& t : context.outputs()) ran.outputs.push_back(copied(t));
  return ran;
}

// The largest part of its bound that an error takes; what rounding to f32 costs, a few steps of 2^-24 of the values in
// sight, is left aside.
double largest_part(const Tensor& got, const Tensor& want, const Tensor& bound, double rounding) {
  double most = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    const double error = std::max(0.0, std::fabs(got.at(i) - want.at(i)) - rounding);
    most = std::max(most, error == 0 ? 0 : error / bound.at(i));
  }
  return most;
}

TEST(Int8Bound, HoldsOnRandomNetworks) {
  int64_t layers = 0, outputs = 0, near = 0;
  for (unsigned seed = 0; seed < 250; ++seed) {
    const Network n = network(seed);
    double largest = 0;
    for (const auto& [v, t] : n.values)
      for (int64_t i = 0; i < t.count(); ++i) largest = std::max(largest, std::fabs(t.at(i)));
    for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier) {
      SCOPED_TRACE(fmt::format("seed {}, tier {}", seed, tier));
      Graph integers = n.floats;
      const Int8Network made = quantize(integers, n.ranges, {.threads = 2, .max_tier = tier});
      const auto reference = interpret(integers, n.inputs);
      ASSERT_TRUE(reference.ok()) << reference.status().message();
      const Ran kernels = run(n, tier);
      const auto count = std::ranges::count(made.layers, "", &Int8Layer::reason);
      ASSERT_EQ(std::ranges::count(kernels.layers, "int8", &LayerPrecision::precision), count) << to_text(n.floats);
      layers += count;
      Bound bound(n.floats, made, n.values);
      for (size_t i = 0; i < n.floats.outputs().size(); ++i) {
        const ValueId y = n.floats.outputs()[i];
        for (const Tensor& got : {(*reference)[i], kernels.outputs[i]}) {
          const double part = largest_part(got, n.values.at(y), bound.of(y), 1e-5 * largest);
          ASSERT_LE(part, 1 + 1e-4) << to_text(n.floats);
          outputs += part > 0;
          near += part > 0.5;
        }
      }
    }
  }
  // Most layers are in int8, and errors come near to the bound.
  EXPECT_GT(layers, 250 * (static_cast<int64_t>(cpu::best_tier()) + 1));
  EXPECT_GT(near, outputs / 2);
}

}  // namespace
}  // namespace hone
