#include "backends/byte_products.h"

#include <algorithm>

#include "backends/integers.h"
#include "backends/problem.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/quantize.h"
#include "ops/reduce.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

Pointwise formula(std::string_view text) { return {*pointwise_from_text(text)}; }

// 128 times the sum of each output channel's weights.
Tensor shift_of(const Op& op, const Tensor& weights) {
  const OutputChannels channels = output_channels(op, weights.dims());
  std::vector<int64_t> sums(static_cast<size_t>(channels.count));
  for (int64_t i = 0; i < weights.count(); ++i) sums[static_cast<size_t>(channels.of(i))] += 128 * weights.int_at(i);
  Tensor shift(DType::i32, {channels.count});
  for (int64_t c = 0; c < channels.count; ++c) shift.set_int(c, sums[static_cast<size_t>(c)]);
  return shift;
}

// sum of x * w = sum of (x - 128) * w + 128 * sum of w.
bool shift_product(Graph& graph, NodeId id, const Machine& machine) {
  const Node node = graph.node(id);
  const auto* conv = node.op.as<Conv>();
  if ((conv == nullptr && node.op.as<MatMul>() == nullptr) || node.inputs.size() != 2) return false;
  const Tensor weights = graph.value(node.inputs[1]).constant;
  Problem problem = problem_of(graph, id);
  if (problem.inputs[0].dtype != DType::u8 || weights.type() != DType::i8 || weights.count() == 0) return false;
  // Padding is 0, which is another value of i8.
  if (conv != nullptr && !std::all_of(conv->pads.begin(), conv->pads.end(), [](int64_t p) { return p == 0; }))
    return false;
  if (has_fast_kernel(problem, machine)) return false;
  problem.inputs[0].dtype = DType::i8;
  if (!has_fast_kernel(problem, machine)) return false;
  const ValueId values =
      add_value(graph, Pointwise{shifting(DType::u8, DType::i8)}, {node.inputs[0]}, problem.inputs[0]);
  const ValueId sums = add_value(graph, node.op, {values, node.inputs[1]}, problem.outputs[0], node.sources);
  return replace(graph, node.outputs[0],
                 add_value(graph, formula("in0:i32; in1:i32; add:i32(0,1)"),
                           {sums, graph.add_constant(shift_of(node.op, weights))}, problem.outputs[0]));
}

ValueId in_f32(Graph& graph, ValueId v) {
  const Value& value = graph.value(v);
  if (!value.is_constant())
    return add_value(graph, formula("in0:f8e4m3fn; cast:f32(0)"), {v}, {DType::f32, value.type.shape});
  Tensor floats(DType::f32, value.constant.dims());
  for (int64_t i = 0; i < floats.count(); ++i) floats.set(i, value.constant.at(i));
  return graph.add_constant(std::move(floats), value.name);
}

bool widen_product(Graph& graph, NodeId id, const Machine& machine) {
  const Node node = graph.node(id);
  if (!machine.cuda_arch.empty() || (node.op.as<Conv>() == nullptr && node.op.as<MatMul>() == nullptr)) return false;
  const auto is_e4m3 = [&](ValueId v) { return graph.type(v).dtype == DType::f8e4m3fn; };
  if (!is_e4m3(node.inputs[0]) || !is_e4m3(node.inputs[1])) return false;
  std::vector<ValueId> inputs = node.inputs;
  for (size_t i = 0; i < 2; ++i) inputs[i] = in_f32(graph, inputs[i]);
  return replace(graph, node.outputs[0], add_value(graph, node.op, inputs, graph.type(node.outputs[0]), node.sources));
}

// The casts round to f32 where DynamicQuantize does.
bool expand_dynamic(Graph& graph, NodeId id, const Machine& machine) {
  if (op_of<DynamicQuantize>(graph, id) == nullptr || has_fast_kernel(problem_of(graph, id), machine)) return false;
  const Node node = graph.node(id);
  const ValueId x = node.inputs[0];
  const TensorType number{DType::f32, Shape::of({})};
  const auto extreme = [&](const char* kind) {
    return add_value(graph, Reduce{.kind = kind, .keep_dims = false}, {x}, number, node.sources);
  };
  const ValueId low = add_value(graph, formula("in0:f32; constant:f32(0); min:f32(0,1)"), {extreme("min")}, number);
  const ValueId scale = add_value(graph,
                                  formula("in0:f32; constant:f32(0); max:f32(0,1); in1:f32; sub:f32(2,3); cast:f32(4); "
                                          "equal:bool(5,1); constant:f32(255); where:f32(6,7,5); div:f32(8,7)"),
                                  {extreme("max"), low}, number);
  const ValueId zero = add_value(graph,
                                 formula("in0:f32; neg:f32(0); in1:f32; div:f32(1,2); cast:f32(3); constant:f32(0); "
                                         "constant:f32(255); clip:f32(4,5,6); round:f32(7); cast:u8(8)"),
                                 {low, scale}, {DType::u8, Shape::of({})});
  const ValueId values = add_value(graph, Quantize{}, {x, scale, zero}, {DType::u8, graph.type(x).shape}, node.sources);
  return replace_all(graph, id, {values, scale, zero});
}

}  // namespace

bool adapt_byte_products(Graph& graph, const Machine& machine) {
  bool changed = false;
  for (NodeId id : graph.order())
    if (graph.alive(id))
      changed |=
          shift_product(graph, id, machine) || widen_product(graph, id, machine) || expand_dynamic(graph, id, machine);
  return changed;
}

}  // namespace hone
