#include "backends/integers.h"

#include <algorithm>

#include "backends/problem.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"

namespace hone {
namespace {

// Not counted are those of the last tier: integers with them are no faster than floats with the others.
constexpr int kSlowestTier = 2;

constexpr int64_t kMaxTerms = 1 << 16;  // of a sum of bytes: f32 holds it exactly

int32_t append(PointwiseProgram& program, PointwiseInstr instr) {
  program.code.push_back(instr);
  return static_cast<int32_t>(program.code.size()) - 1;
}

// sums -> sums * scale, and + bias; scale and bias are inputs.
PointwiseProgram rescaling(DType sums, bool bias) {
  PointwiseProgram program{{{.fn = Fn::input, .type = sums, .input = 0}}};
  int32_t last = 0;
  if (sums != DType::f32) last = append(program, {.fn = Fn::cast, .operand = {last, -1, -1}});
  const int32_t scale = append(program, {.fn = Fn::input, .input = 1});
  last = append(program, {.fn = Fn::mul, .operand = {last, scale, -1}});
  if (!bias) return program;
  const int32_t offset = append(program, {.fn = Fn::input, .input = 2});
  append(program, {.fn = Fn::add, .operand = {last, offset, -1}});
  return program;
}

}  // namespace

std::string_view precision_name(DType type) { return type == DType::i8 ? "int8" : "fp8"; }
double largest_of(DType type) { return type == DType::i8 ? 127 : 448; }

PointwiseProgram quantizing(DType type, Fn fn, float step, int zero) {
  PointwiseProgram p{
      {{.fn = Fn::input, .input = 0}, {.fn = Fn::constant, .value = step}, {.fn = fn, .operand = {0, 1, -1}}}};
  if (type != DType::i8) {
    append(p, {.fn = Fn::cast_saturate, .type = type, .operand = {2, -1, -1}});
    return p;
  }
  int32_t whole = append(p, {.fn = Fn::round, .operand = {2, -1, -1}});
  if (zero != 0) {
    const int32_t offset = append(p, {.fn = Fn::constant, .value = static_cast<double>(zero)});
    whole = append(p, {.fn = Fn::add, .operand = {whole, offset, -1}});
  }
  const int32_t low = append(p, {.fn = Fn::constant, .value = -128}),
                high = append(p, {.fn = Fn::constant, .value = 127}),
                clipped = append(p, {.fn = Fn::clip, .operand = {whole, low, high}});
  append(p, {.fn = Fn::cast, .type = DType::i8, .operand = {clipped, -1, -1}});
  return p;
}

PointwiseProgram quantizing_by_input(DType type, Fn fn) {
  PointwiseProgram p = quantizing(type, fn, 1);
  p.code[1] = {.fn = Fn::input, .input = 1};
  return p;
}

PointwiseProgram dequantizing(DType type, float scale, int zero) {
  PointwiseProgram p{{{.fn = Fn::input, .type = type, .input = 0}, {.fn = Fn::cast, .operand = {0, -1, -1}}}};
  int32_t centred = 1;
  if (zero != 0) {
    const int32_t offset = append(p, {.fn = Fn::constant, .value = static_cast<double>(zero)});
    centred = append(p, {.fn = Fn::sub, .operand = {centred, offset, -1}});
  }
  const int32_t unit = append(p, {.fn = Fn::constant, .value = scale});
  append(p, {.fn = Fn::mul, .operand = {centred, unit, -1}});
  return p;
}

PointwiseProgram shifting(DType from, DType to) {
  return {{{.fn = Fn::input, .type = from, .input = 0},
           {.fn = Fn::cast, .operand = {0, -1, -1}},
           {.fn = Fn::constant, .value = from == DType::u8 ? -128.0 : 128.0},
           {.fn = Fn::add, .operand = {1, 2, -1}},
           {.fn = Fn::cast, .type = to, .operand = {3, -1, -1}}}};
}

ValueId add_rescaling(Graph& graph, ValueId sums, Tensor scales, ValueId bias, TensorType type, std::string name) {
  std::vector<ValueId> inputs{sums, graph.add_constant(std::move(scales), std::move(name))};
  if (bias != ValueId::none) inputs.push_back(bias);
  return add_value(graph, Pointwise{rescaling(graph.type(sums).dtype, bias != ValueId::none)}, inputs, std::move(type));
}

ValueId add_value(Graph& graph, Op op, const std::vector<ValueId>& inputs, TensorType type,
                  std::vector<std::string> sources) {
  return graph.node(graph.add_node_typed(std::move(op), inputs, {std::move(type)}, std::move(sources))).outputs[0];
}

bool has_fast_kernel(const Problem& problem, const Machine& machine) {
  const Backend backend = machine.cuda_arch.empty() ? Backend::cpu : Backend::cuda;
  const auto table = tactic_table();
  return std::any_of(table.begin(), table.end() - 1, [&](const Tactic& t) {  // the last one is the reference
    return t.backend == backend && t.tier < kSlowestTier && t.supports(problem, machine).empty();
  });
}

std::optional<Problem> product_of(const Problem& problem, DType type) {
  Problem product{.op = problem.op};
  for (size_t i = 0; i < 2; ++i) product.inputs.push_back({type, problem.inputs[i].shape});
  product.constants = {Tensor(), Tensor(type, *problem.inputs[1].shape.concrete())};
  const auto types = product.op.infer({product.inputs, product.constants, 1});
  if (!types.ok() || size_of((*types)[0].dtype) != 4) return std::nullopt;
  product.outputs = *types;
  return product;
}

std::optional<RequantizeForm> requantization_of(const Graph& graph, NodeId id, ValueId sums) {
  const Node& node = graph.node(id);
  std::vector<Spread> spreads;
  for (ValueId v : node.inputs) spreads.push_back(spread_of(graph.type(v).shape, graph.type(node.outputs[0]).shape));
  const auto at = std::find(node.inputs.begin(), node.inputs.end(), sums) - node.inputs.begin();
  return as_requantize(node.op.as<Pointwise>()->program, static_cast<int>(at), spreads);
}

std::optional<ValueId> add_byte_mean(Graph& graph, NodeId mean, ValueId values, float scale, int zero,
                                     const Machine& machine) {
  const Node node = graph.node(mean);
  const auto* op = node.op.as<Reduce>();
  if (op == nullptr || op->kind != "mean") return std::nullopt;
  Reduce sum = *op;
  sum.kind = "sum_i32";
  Problem problem = problem_of(graph, mean);
  problem.op = sum;
  problem.inputs[0].dtype = DType::i8;
  problem.outputs[0].dtype = DType::i32;
  if (!problem.is_static() || !has_fast_kernel(problem, machine)) return std::nullopt;
  const int64_t results = element_count(*problem.outputs[0].shape.concrete());
  const int64_t count = results > 0 ? element_count(*problem.inputs[0].shape.concrete()) / results : 0;
  if (count == 0 || count > kMaxTerms) return std::nullopt;
  std::vector<ValueId> inputs = node.inputs;
  inputs[0] = values;
  const ValueId sums = add_value(graph, sum, inputs, problem.outputs[0], node.sources);
  const auto unit = static_cast<float>(static_cast<double>(scale) / static_cast<double>(count));
  return add_value(graph, Pointwise{dequantizing(DType::i32, unit, static_cast<int>(zero * count))}, {sums},
                   graph.type(node.outputs[0]), node.sources);
}

OutputChannels output_channels(const Op& op, const Dims& weights) {
  const auto* product = op.as<MatMul>();
  if (product != nullptr && !product->trans_b) return {weights[1], 1};
  return {weights[0], element_count(weights) / weights[0]};
}

int64_t input_channel(const Op& op, const Dims& weights, int64_t i) {
  if (const auto* product = op.as<MatMul>()) return product->trans_b ? i % weights[1] : i / weights[1];
  const int64_t taps = element_count(weights) / (weights[0] * weights[1]);
  const int64_t group = i / (taps * weights[1]) / (weights[0] / op.as<Conv>()->groups);
  return group * weights[1] + i / taps % weights[1];
}

bool keeps_values(const Op& op) {
  if (const auto* pool = op.as<Pool>()) return pool->kind == "max";
  return op.as<Concat>() != nullptr || op.as<Transpose>() != nullptr || op.view();
}

size_t data_inputs(const Node& node) { return node.op.as<Concat>() != nullptr ? node.inputs.size() : 1; }

bool can_move(const Graph& graph, NodeId id, DType type, const Machine& machine) {
  const Node& node = graph.node(id);
  if (!keeps_values(node.op) || node.outputs.size() != 1) return false;
  Problem problem = problem_of(graph, id);
  for (size_t i = 0; i < data_inputs(node); ++i) {
    if (graph.value(node.inputs[i]).is_constant() || problem.inputs[i].dtype != DType::f32) return false;
    problem.inputs[i].dtype = type;
  }
  problem.outputs[0].dtype = type;
  return node.op.view() || has_fast_kernel(problem, machine);
}

}  // namespace hone
