// A residual block of three convolutions, channels last, as it is before fusion.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ir/graph.h"

namespace hone::testing {

struct BlockCase {
  int64_t n = 2, h = 9, w = 11, channels = 256, out = 0;  // 0: as many as the input has
  int64_t between = 64, filter = 3, stride = 1, dilation = 1, groups = 1;
  DType type = DType::f16;
  bool shortcut = false, residual = true, other_residual = false;  // of another input of the network
  bool shortcut_adds = false;                                      // to its sums the other layers' results are added
  bool steps = false;                                              // of i8: results have a step for each channel
  int output = 0, read_again = 0;  // the result of that layer, from 1, is one of the network's, or read once more
  std::string activation = "relu:f32({})";
};

inline Tensor random_of(DType type, Dims dims, unsigned seed, double scale = 1) {
  Tensor t(type, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, scale * (random() % 2001 / 1000.0 - 1));
  return t;
}

inline Graph residual_block(const BlockCase& c) {
  Graph g;
  unsigned seed = 1;
  const auto add = [&](const Op& op, const std::vector<ValueId>& inputs, const std::string& source) {
    const auto node = g.add_node(op, inputs, 1, {source});
    EXPECT_TRUE(node.ok()) << node.status().message();
    return g.node(*node).outputs[0];
  };
  // Weights such that results are about as large as what they are made of.
  const auto conv = [&](ValueId x, int64_t out, int64_t filter, int64_t stride, int64_t dilation, int64_t groups) {
    const int64_t in = g.type(x).shape.concrete()->back(), pad = dilation * (filter / 2);
    const double scale =
        c.type == DType::i8 ? 127 : std::sqrt(3.0 / static_cast<double>(in / groups * filter * filter));
    std::vector<ValueId> inputs{x,
                                g.add_constant(random_of(c.type, {out, in / groups, filter, filter}, ++seed, scale))};
    if (c.type != DType::i8) inputs.push_back(g.add_constant(random_of(c.type, {out}, ++seed, 0.5)));
    return add(*make_op("Conv", {{"strides", std::vector<int64_t>{stride, stride}},
                                 {"dilations", std::vector<int64_t>{dilation, dilation}},
                                 {"pads", std::vector<int64_t>(4, pad)},
                                 {"groups", groups},
                                 {"channels_last", true}}),
               inputs, fmt::format("conv{}", seed));
  };
  const bool wide = c.type == DType::f32;
  const auto floats = [&](std::vector<ValueId> inputs, const std::string& activation) {
    std::string program;
    int next = 0;
    const auto push = [&](const std::string& instr) {
      program += (next == 0 ? "" : "; ") + instr;
      return next++;
    };
    int last = -1;
    for (size_t i = 0; i < inputs.size(); ++i) {
      int v = push(fmt::format("in{}:{}", i, name(c.type)));
      if (!wide) v = push(fmt::format("cast:f32({})", v));
      last = last < 0 ? v : push(fmt::format("add:f32({},{})", last, v));
    }
    if (!activation.empty()) last = push(fmt::format(fmt::runtime(activation), last));
    if (!wide) push(fmt::format("cast:{}({})", name(c.type), last));
    return add(*make_op("Pointwise", {{"program", program}}), inputs, fmt::format("act{}", seed));
  };
  // Sums of integers quantised again, as backends/requantize.h makes them.
  const auto integers = [&](std::vector<ValueId> inputs, bool relu, bool steps) {
    const int64_t channels = g.type(inputs[0]).shape.concrete()->back();
    const Dims weights = *g.type(g.node(g.value(inputs[0]).producer).inputs[1]).shape.concrete();
    Tensor scale = random_of(DType::f32, {channels}, ++seed, 0.3), bias = random_of(DType::f32, {channels}, ++seed, 20);
    const double one = 1 / (73 * std::sqrt(static_cast<double>(weights[1] * weights[2] * weights[3])));
    for (int64_t i = 0; i < channels; ++i) scale.set(i, one * (1 + scale.at(i)));
    const bool adds = inputs.size() > 1;
    std::vector<ValueId> operands{inputs[0], g.add_constant(scale), g.add_constant(bias)};
    std::string program = "in0:i32; cast:f32(0); in1:f32; mul:f32(1,2); in2:f32; add:f32(3,4)";
    int last = 5;
    const auto push = [&](const std::string& instr) {
      program += "; " + instr;
      return ++last;
    };
    if (adds) {
      operands.push_back(inputs[1]);
      push("in3:i8; cast:f32(6); constant:f32(0.673625648021698); mul:f32(7,8)");
      program += "; add:f32(5,9)";
      last = 10;
    }
    if (steps) {
      Tensor step = random_of(DType::f32, {channels}, ++seed, 0.2);
      for (int64_t i = 0; i < channels; ++i) step.set(i, 1 + step.at(i));
      operands.push_back(g.add_constant(step));
      program += fmt::format("; in{}:f32; mul:f32({},{})", operands.size() - 1, last, last + 1);
      last += 2;
    }
    const int value = last;
    push(fmt::format("round:f32({})", value));
    push(fmt::format("constant:f32({})", relu ? 0 : -128));
    push("constant:f32(127)");
    push(fmt::format("clip:f32({},{},{})", value + 1, value + 2, value + 3));
    push(fmt::format("cast:i8({})", value + 4));
    return add(*make_op("Pointwise", {{"program", program}}), operands, fmt::format("act{}", seed));
  };
  const bool bytes = c.type == DType::i8;
  const auto pointwise = [&](std::vector<ValueId> inputs) {
    return bytes ? integers(std::move(inputs), true, c.steps) : floats(std::move(inputs), c.activation);
  };
  const Dims image{c.n, c.h, c.w, c.channels};
  const ValueId x = g.add_input("x", {c.type, Shape::of(image)});
  const int64_t out = c.out > 0 ? c.out : c.shortcut ? 256 : c.channels;
  const ValueId one = pointwise({conv(x, c.between, 1, 1, 1, 1)});
  const ValueId two = pointwise({conv(one, c.between, c.filter, c.stride, c.dilation, c.groups)});
  ValueId sum = conv(two, out, 1, 1, 1, 1), added = x;
  if (c.shortcut) added = conv(x, out, 1, c.stride, 1, 1);
  if (c.shortcut_adds) std::swap(sum, added);
  if (c.shortcut && bytes) added = integers({added}, false, false);
  if (c.other_residual) added = g.add_input("r", g.type(x));
  const ValueId y = c.residual ? pointwise({sum, added}) : pointwise({sum});
  g.add_output(y, "y");
  const ValueId inner[] = {one, two};
  if (c.output > 0) g.add_output(inner[c.output - 1], "inner");
  if (c.read_again > 0) g.add_output(conv(inner[c.read_again - 1], 8, 1, 1, 1, 1), "again");
  return g;
}

}  // namespace hone::testing
