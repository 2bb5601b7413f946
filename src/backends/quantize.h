#pragma once

#include <functional>
#include <set>
#include <span>

#include "base/magnitude.h"
#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// A convolution, matrix product or attention, by the framework's name.
struct Int8Layer {
  std::string name;
  double range = 0;            // threshold of what it reads; 0: not known
  std::string reason;          // why it stays in floats; empty: it is in 8 bits
  NodeId node = NodeId::none;  // in the graph as it was given
  // Of a convolution or matrix product in 8 bits.
  ValueId result = ValueId::none;  // its sums, scaled and with its bias, by add_rescaling()
  std::vector<double>
      steps;  // what 1 of the 8-bit numbers that it reads stands for: one number, or one for each channel
};

// A tensor, of the graph as it was given, that elementwise work reads in 8 bits.
struct Int8Tensor {
  ValueId value = ValueId::none;
  double step = 1;  // what 1 stands for
};

struct Int8Network {
  // All convolutions and matrix products, and what attention is in 8 bits, in the order of the network.
  std::vector<Int8Layer> layers;
  std::vector<Int8Tensor> tensors;
};

inline constexpr double kUsualExponent = 0.5;

// Whether convolutions and matrix products among `layers` read a tensor as their data and nothing else does, so that
// their weights can make up for scales of its `channels`, which lie on its last axis.
bool can_divide(const Graph& graph, ValueId v, size_t channels, const std::function<bool(NodeId)>& is_layer);
// What 1 stands for in each channel of such a tensor, whose threshold is `whole`.
std::vector<double> channel_steps(const Graph& graph, ValueId v, std::span<const double> magnitudes, double whole,
                                  DType type, double exponent = kUsualExponent);
// Constant weights as a layer in 8 bits has them, in floats again. `steps`: of the channels that they meet; empty where
// these have none.
Tensor rounded_weights(const Op& op, const Tensor& weights, std::span<const double> steps, DType type);

// Computes in int8, with sums in i32, the convolutions and matrix products with constant weights that a kernel of the
// machine can, where a range is known for what they read. Weights are quantised for each output channel, activations
// for each tensor, both symmetrically: q = clip(round(x * (127 / threshold)), -128, 127). Where nothing but such layers
// reads a tensor whose channels' magnitudes are known, each channel has its own scale, which the weights that it meets
// make up for: a depthwise convolution's take it whole, others' the part of it that `exponent` says, from 0 (none, the
// tensor has one scale) to 1, so that weights and activations share it. What else reads a quantised tensor elementwise,
// as a residual sum does, reads the quantised values too, so that a layer writes no other ones.
// Attention has its queries, keys and values in int8 where their ranges are known, and weights that the kernel rounds.
// A mean that alone reads what such layers make, as ahead of a classifier, is the sum of its int8 values, scaled once.
// Maximum pooling, concatenations and movements of such tensors are done on int8. `floats`: layers that are to stay in
// floats, by name.
// With `type` f8e4m3fn the same is done in fp8, with sums in f32: q = x * (448 / threshold) as the nearest e4m3, none
// beyond 448, where the threshold is the largest value that was seen, if that is known; channels of activations have no
// scales of their own.
Int8Network quantize(Graph& graph, const Thresholds& thresholds, const Machine& machine,
                     const std::set<std::string>& floats = {}, DType type = DType::i8,
                     double exponent = kUsualExponent);

}  // namespace hone
