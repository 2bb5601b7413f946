// What the ways to int8 and fp8 (e4m3) share: from ranges (quantize.h) and from a model that comes quantised
// (quantized_model.h).
#pragma once

#include <optional>

#include "ir/graph.h"
#include "ops/fused.h"
#include "tactics/tactic.h"

namespace hone {

// The name of the precision of products whose factors are of `type`, i8 or f8e4m3fn.
std::string_view precision_name(DType type);
// What symmetric ranges end at: 127 or 448.
double largest_of(DType type);

// x -> clip(round(fn(x, step)) + zero, -128, 127) as i8, or the nearest e4m3 to fn(x, step), none beyond 448; fn is mul
// or div.
PointwiseProgram quantizing(DType type, Fn fn, float step, int zero = 0);

// The same with the step as input 1.
PointwiseProgram quantizing_by_input(DType type, Fn fn);

// q -> (q - zero) * scale, of q of `type`.
PointwiseProgram dequantizing(DType type, float scale, int zero = 0);

// u8 -> i8 by -128, and back by +128.
PointwiseProgram shifting(DType from, DType to);

// The sums of a product, scaled for each output channel, with a bias unless it is none, as a value of `type`.
// The scales get the name `name`.
ValueId add_rescaling(Graph& graph, ValueId sums, Tensor scales, ValueId bias, TensorType type, std::string name);

// A node with one output of a type that is known.
ValueId add_value(Graph& graph, Op op, const std::vector<ValueId>& inputs, TensorType type,
                  std::vector<std::string> sources = {});

// Whether a kernel of the machine, other than the reference, can do a problem as fast as floats are done.
bool has_fast_kernel(const Problem& problem, const Machine& machine);

// A convolution or matrix product with constant weights as one of `type`, whose sums are i32 or f32; nothing when there
// is none.
std::optional<Problem> product_of(const Problem& problem, DType type);

// An elementwise node as an epilogue of its input `sums`; nothing when it is none.
std::optional<RequantizeForm> requantization_of(const Graph& graph, NodeId id, ValueId sums);

// The mean of floats that a node takes, from their values in i8, (q - zero) * scale: the sum of these in i32, exact,
// and scaled once. Nothing where no kernel of the machine can do it.
std::optional<ValueId> add_byte_mean(Graph& graph, NodeId mean, ValueId values, float scale, int zero,
                                     const Machine& machine);

// Which element of its weights belongs to which output channel.
struct OutputChannels {
  int64_t count = 1, inner = 1;

  int64_t of(int64_t i) const { return i / inner % count; }
};
OutputChannels output_channels(const Op& op, const Dims& weights);
// The input channel that element i of its weights meets.
int64_t input_channel(const Op& op, const Dims& weights, int64_t i);

// Ops whose results hold values of their data inputs, and no others.
bool keeps_values(const Op& op);
// The first ones of a node's inputs are data: so many.
size_t data_inputs(const Node& node);
// Whether a node only moves values of f32, none of them constant, and can do so with those of `type`.
bool can_move(const Graph& graph, NodeId id, DType type, const Machine& machine);

}  // namespace hone
