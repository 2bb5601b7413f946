// A squeeze-and-excite block, channels last, as it is before fusion.
#pragma once

#include <cmath>

#include "bottleneck.h"

namespace hone::testing {

struct SqueezeExciteCase {
  int64_t n = 2, h = 9, w = 7, channels = 96, hidden = 10;
  DType type = DType::f16;
  std::string activation = "silu:f32({})", gate = "sigmoid:f32({})";
  std::string kind = "mean";  // of the reduction
  bool gate_first = false;    // in the product
  bool read_again = false;    // the mean, by another layer
  int64_t filter = 1;         // of the first layer
};

inline Graph squeeze_excite(const SqueezeExciteCase& c) {
  Graph g;
  const auto add = [&](const char* op, const Attrs& attrs, std::vector<ValueId> inputs, const std::string& source) {
    const auto node = g.add_node(*make_op(op, attrs), std::move(inputs), 1, {source});
    EXPECT_TRUE(node.ok()) << node.status().message();
    return g.node(*node).outputs[0];
  };
  const auto conv = [&](ValueId x, int64_t out, int64_t filter, unsigned seed) {
    const int64_t in = g.type(x).shape.concrete()->back();
    const double scale = std::sqrt(3.0 / static_cast<double>(in));
    return add("Conv",
               {{"strides", std::vector<int64_t>{1, 1}},
                {"dilations", std::vector<int64_t>{1, 1}},
                {"pads", std::vector<int64_t>(4, filter / 2)},
                {"channels_last", true}},
               {x, g.add_constant(random_of(c.type, {out, in, filter, filter}, seed, scale)),
                g.add_constant(random_of(c.type, {out}, seed + 1, 0.5))},
               fmt::format("conv{}", seed));
  };
  // In f32, between casts.
  const auto pointwise = [&](std::vector<ValueId> inputs, const std::string& function, const std::string& source) {
    std::string program;
    std::vector<int> read;
    int next = 0;
    const auto push = [&](const std::string& instr) {
      program += (next == 0 ? "" : "; ") + instr;
      return next++;
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int v = push(fmt::format("in{}:{}", i, name(c.type)));
      read.push_back(c.type == DType::f32 ? v : push(fmt::format("cast:f32({})", v)));
    }
    const int result = read.size() == 1 ? push(fmt::format(fmt::runtime(function), read[0]))
                                        : push(fmt::format(fmt::runtime(function), read[0], read[1]));
    if (c.type != DType::f32) push(fmt::format("cast:{}({})", name(c.type), result));
    return add("Pointwise", {{"program", program}}, std::move(inputs), source);
  };
  const ValueId x = g.add_input("x", {c.type, Shape::of(Dims{c.n, c.h, c.w, c.channels})});
  const ValueId axes = g.add_constant(Tensor::vector(std::vector<int64_t>{1, 2}), "axes");
  const ValueId mean = add("Reduce", {{"kind", c.kind}}, {x, axes}, "mean");
  const ValueId hidden = pointwise({conv(mean, c.hidden, c.filter, 1)}, c.activation, "activation");
  const ValueId gate = pointwise({conv(hidden, c.channels, 1, 3)}, c.gate, "gate");
  const auto operands = c.gate_first ? std::vector{gate, x} : std::vector{x, gate};
  g.add_output(pointwise(operands, "mul:f32({},{})", "scale"), "y");
  if (c.read_again) g.add_output(conv(mean, 8, 1, 5), "again");
  return g;
}

}  // namespace hone::testing
